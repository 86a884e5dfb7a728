// Package darwin_arm64 holds librevenium's archive for macOS on ARM64: in a release. It has this file because `go mod vendor` leaves
// out directories without one.
package darwin_arm64
