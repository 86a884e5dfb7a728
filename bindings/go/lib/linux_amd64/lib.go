// Package linux_amd64 holds the shared library for this platform, once `make lib` has put it here.
// It has a Go file because `go mod vendor` leaves out directories without one.
package linux_amd64
