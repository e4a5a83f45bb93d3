// Package console is the web console: pages for people who look before they read, made
// by the server, useful without a script.
//
// It has no rights and no rules of its own. Everything that a page shows or does is a
// call of the AWS APIs, of Berth's own or of the catalog's, made in this process in the
// name of who has signed in: authorised, recorded and refused like any other, and shown
// beside each form as the command that does the same. It reads no table.
package console
