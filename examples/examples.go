// Package examples holds the examples that are written in other languages than Go, for `pigeonry plugin new`, which
// makes projects of them. An example in Go is a module of its own and not part of this package.
package examples

import "embed"

// Files are their sources, without what is built.
//
//go:embed python-plugin/plugin/*.py
//go:embed node-plugin/src/*.js node-plugin/package.json node-plugin/package-lock.json node-plugin/.npmrc
var Files embed.FS
