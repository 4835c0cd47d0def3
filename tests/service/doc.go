// Package service tests the signing service as its users run it: the program as server and as
// client, each a process of its own, with `serve init`, `serve`, the commands that sign,
// `approve` and `audit`. What a client of the program never sends is sent by a client made here.
package service
