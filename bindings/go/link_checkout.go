//go:build !revenium_pkgconfig

package revenium

// In a checkout the library is where cargo puts it. Modules of a release are without this file.

// #cgo LDFLAGS: -L${SRCDIR}/../../target/release -L${SRCDIR}/../../target/debug
// #cgo !revenium_static LDFLAGS: -Wl,-rpath,${SRCDIR}/../../target/release -Wl,-rpath,${SRCDIR}/../../target/debug
import "C"
