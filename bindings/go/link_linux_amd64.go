//go:build !revenium_pkgconfig && !revenium_musl

package revenium

// Elsewhere it is in a package of its own for each platform, which tells the linker where it lies: in a release that is a
// module with the library in it, in a checkout it is empty until `make lib`.

import "C"

import _ "github.com/librevenium/librevenium/bindings/go/lib/linux_amd64"
