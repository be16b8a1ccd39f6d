package catalog

import (
	"fmt"
	"io/fs"
)

// Fault says why a version of a plugin cannot be used, so that its operator can mend it.
type Fault struct { //nolint:errname // it is a finding about a version first, and an error second
	What     string // the fault's name
	Expected string
	Found    string
	Remedy   string
	// Permanent: a repeat would fail the same way, until somebody changes what is installed.
	Permanent bool
	Cause     error // may be nil
}

// Error gives all four parts on one line.
func (f *Fault) Error() string {
	return fmt.Sprintf("%s: expected %s, found %s; %s", f.What, f.Expected, f.Found, f.Remedy)
}

// Unwrap returns the cause.
func (f *Fault) Unwrap() error { return f.Cause }

func invalidName(name string) *Fault {
	return &Fault{
		What: "invalid plugin name", Expected: "a folder named with a–z, 0–9, - and _, at most 63 characters",
		Found: fmt.Sprintf("%q", name), Remedy: "rename the folder", Permanent: true,
	}
}

func invalidVersion(version string) *Fault {
	return &Fault{
		What: "invalid version", Expected: "a folder named by a semantic version such as 1.4.0",
		Found: fmt.Sprintf("%q", version), Remedy: "rename the folder", Permanent: true,
	}
}

func missingFile(path string, err error) *Fault {
	return &Fault{
		What: "missing file", Expected: "the executable " + path, Found: "no such file",
		Remedy: "install the plugin there, under the name of its folder or the one that its plugin.hcl gives", Permanent: true, Cause: err,
	}
}

func notAFile(path string, mode fs.FileMode) *Fault {
	return &Fault{
		What: "not a file", Expected: "the file " + path, Found: modeName(mode),
		Remedy: "put a file of its own there", Permanent: true,
	}
}

// modeName says in words what stands there instead of a file.
func modeName(mode fs.FileMode) string {
	switch {
	case mode.IsDir():
		return "a folder"
	case mode&fs.ModeSymlink != 0:
		return "a symbolic link"
	case mode&fs.ModeNamedPipe != 0:
		return "a named pipe"
	case mode&fs.ModeSocket != 0:
		return "a socket"
	case mode&fs.ModeDevice != 0:
		return "a device"
	default:
		return "mode " + mode.String()
	}
}

func unreadable(path string, err error) *Fault {
	return &Fault{
		What: "unreadable file", Expected: "a file that the gateway may read", Found: err.Error(),
		Remedy: "check the permissions of " + path, Permanent: true, Cause: err,
	}
}

func notExecutable(path string, mode fs.FileMode) *Fault {
	return &Fault{
		What: "not executable", Expected: "a file that may be executed", Found: "mode " + mode.Perm().String(),
		Remedy: "chmod 0755 " + path, Permanent: true,
	}
}

func oversize(what string, limit int64) *Fault {
	return &Fault{
		What: "oversize " + what, Expected: fmt.Sprintf("at most %d bytes", limit), Found: "more",
		Remedy: "leave out what the plugin does not need, or raise the limit", Permanent: true,
	}
}

func wrongChecksum(expected, found string) *Fault {
	return &Fault{
		What: "wrong checksum", Expected: "sha256 " + expected, Found: "sha256 " + found,
		Remedy: "install the version again; a new build gets a new version", Permanent: true,
	}
}
