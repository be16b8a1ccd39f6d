// Package catalog knows which versions of plugins are installed, whether they are what they say, and
// keeps the copies of them that are executed.
//
// Plugins are installed as <dir>/<name>/<version>/. What stands there is only ever read: Stage copies the
// executable into a store that the gateway alone may enter, under the checksum of its bytes, and the copy is
// what runs. So nobody changes a file between the check and the execution, or under a running process.
//
// A version may carry a manifest, plugin.hcl, which holds its name, its version and the checksum of its
// executable. A detached signature over the bytes of the manifest therefore covers all three, and an old
// executable cannot be passed off as a new one. Signatures are those of minisign and those of
// `cosign sign-blob` or `openssl pkeyutl` with an Ed25519 key.
package catalog
