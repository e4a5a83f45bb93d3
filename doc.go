// Package berth is the root of a container registry that speaks Amazon ECR. It
// holds no code: ARCHITECTURE.md is the map, cmd/berth the binary, and the tests
// here are those of the whole (import rules, stories, crashes).
package berth
