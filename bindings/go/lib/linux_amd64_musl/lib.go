// Package linux_amd64_musl holds librevenium's libraries for Linux on x86-64 with musl, as on Alpine: in a release, and once `make lib` has put
// them here in a checkout. It has this file because `go mod vendor` leaves out directories without one.
package linux_amd64_musl
