//go:build revenium_pkgconfig

package revenium

// An installed library, found by pkg-config; a deployed program may have it beside itself.

// #cgo pkg-config: revenium
// #cgo LDFLAGS: -Wl,-rpath,$ORIGIN
import "C"
