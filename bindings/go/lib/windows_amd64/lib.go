// Package windows_amd64 holds librevenium's archive for Windows on x86-64: in a release. It has this file because `go mod vendor`
// leaves out directories without one.
package windows_amd64
