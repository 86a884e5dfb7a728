//go:build !revenium_pkgconfig

package revenium

// Elsewhere it is where `make lib` puts it. The import makes `go mod vendor` take that directory along.

// #cgo LDFLAGS: -L${SRCDIR}/lib/linux_amd64 -Wl,-rpath,${SRCDIR}/lib/linux_amd64
import "C"

import _ "github.com/librevenium/librevenium/bindings/go/lib/linux_amd64"
