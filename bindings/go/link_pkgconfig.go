//go:build revenium_pkgconfig && !revenium_static

package revenium

// An installed library, found by pkg-config.

// #cgo pkg-config: revenium
import "C"
