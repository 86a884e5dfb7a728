//go:build revenium_pkgconfig

package revenium

// An installed library, found by pkg-config.

// #cgo pkg-config: revenium
import "C"
