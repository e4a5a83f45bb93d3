// Package deploy holds what people deploy to Berth: terraform modules. It has no code of
// its own; its test keeps what is generated there true.
package deploy
