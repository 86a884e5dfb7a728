module github.com/librevenium/librevenium/bindings/go

go 1.23
