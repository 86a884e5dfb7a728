// Package linux_arm64 holds librevenium's libraries for Linux on ARM64 with glibc: in a release, and once `make lib` has put
// them here in a checkout. It has this file because `go mod vendor` leaves out directories without one.
package linux_arm64
