//go:build !revenium_pkgconfig

package revenium

// A release has the archive alone: cgo lets no package ask for the rpath by which a program finds a library beside itself here.

// #cgo LDFLAGS: -lrevenium -framework CoreFoundation -framework Security
import "C"
