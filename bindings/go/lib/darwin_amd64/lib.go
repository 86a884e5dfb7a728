// Package darwin_amd64 holds librevenium's archive for macOS on x86-64: in a release. It has this file because `go mod vendor` leaves
// out directories without one.
package darwin_amd64
