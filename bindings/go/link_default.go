//go:build !revenium_pkgconfig && !revenium_static

package revenium

// In a checkout the library is where cargo puts it; a deployed program has it beside itself.

// #cgo LDFLAGS: -L${SRCDIR}/../../target/release -L${SRCDIR}/../../target/debug -lrevenium
// #cgo LDFLAGS: -Wl,-rpath,${SRCDIR}/../../target/release -Wl,-rpath,${SRCDIR}/../../target/debug -Wl,-rpath,$ORIGIN
import "C"
