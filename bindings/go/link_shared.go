//go:build !revenium_pkgconfig && !revenium_static && !darwin && !windows

package revenium

// The shared library, which a deployed program has beside itself.

// #cgo LDFLAGS: -lrevenium
// #cgo LDFLAGS: -Wl,-rpath,$ORIGIN
import "C"
