//go:build revenium_static && !revenium_pkgconfig && !darwin && !windows

package revenium

// The archive, linked into the program. Two archives written in Rust do not fit into one program.

// #cgo LDFLAGS: -l:librevenium.a
// #cgo !revenium_musl LDFLAGS: -lgcc_s -lutil -lrt -lpthread -lm -ldl
import "C"
