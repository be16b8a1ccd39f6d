package catalog_test

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/pigeonry/pigeonry/core/pluginhost/catalog"
)

// Every row is a folder that cannot be used, with what is said about it.
func TestBadFolders(t *testing.T) {
	checkBadFolders(t, []badFolder{
		{
			"no version", func(h *house) { h.put("latest", script("x"), plain) },
			`invalid version: expected a folder named by a semantic version such as 1.4.0, found "latest"; rename the folder`,
		},
		{
			"missing executable", func(h *house) { h.put("1.0.0", script("x"), plain); h.delete("1.0.0", "sms") },
			"missing file: expected the executable ",
		},
		{
			"missing executable without a manifest", func(h *house) { h.put("1.0.0", script("x"), nil); h.delete("1.0.0", "sms") },
			"missing file: expected the executable ",
		},
		{
			"executable under another name", func(h *house) {
				h.put("1.0.0", script("x"), func(m *catalog.Manifest) { m.Executable = "other" })
			},
			"missing file: expected the executable ",
		},
		{
			"not executable", func(h *house) { h.put("1.0.0", script("x"), plain); h.chmod("1.0.0", "sms", 0o644) },
			"not executable: expected a file that may be executed, found mode -rw-r--r--; chmod 0755 ",
		},
		{
			"folder as executable", func(h *house) { h.put("1.0.0", script("x"), nil); h.delete("1.0.0", "sms"); h.mkdir("1.0.0", "sms") },
			"not a file: expected the file ",
		},
		{
			"pipe as executable", func(h *house) { h.put("1.0.0", script("x"), nil); h.delete("1.0.0", "sms"); h.pipe("1.0.0", "sms") },
			"not a file: expected the file ",
		},
		{
			"pipe as manifest", func(h *house) { h.put("1.0.0", script("x"), nil); h.pipe("1.0.0", "plugin.hcl") },
			"not a file: expected the file ",
		},
		{
			"executable elsewhere", func(h *house) {
				h.put("1.0.0", script("x"), plain)
				outside := filepath.Join(h.t.TempDir(), "sms")
				write(h.t, outside, script("x"), 0o755)
				h.delete("1.0.0", "sms")
				h.link(outside, "1.0.0", "sms")
			},
			"not a file: expected the file ",
		},
		{
			"manifest elsewhere", func(h *house) {
				h.put("1.0.0", script("x"), plain)
				outside := filepath.Join(h.t.TempDir(), "plugin.hcl")
				if err := os.Rename(h.path("1.0.0", "plugin.hcl"), outside); err != nil {
					h.t.Fatal(err)
				}
				h.link(outside, "1.0.0", "plugin.hcl")
			},
			"not a file: expected the file ",
		},
		{
			"broken link", func(h *house) {
				h.put("1.0.0", script("x"), nil)
				h.delete("1.0.0", "sms")
				h.link("/nowhere", "1.0.0", "sms")
			},
			"missing file: expected the executable ",
		},
		{
			"wrong checksum", func(h *house) {
				h.put("1.0.0", script("x"), func(m *catalog.Manifest) { m.SHA256 = zeros })
			},
			"wrong checksum: expected sha256 " + zeros + ", found sha256 " + sum(script("x")) + "; install the version again; a new build gets a new version",
		},
		{
			"manifest of another plugin", func(h *house) {
				h.put("1.0.0", script("x"), func(m *catalog.Manifest) { m.Name = "email" })
			},
			"manifest of another version: expected sms 1.0.0, as the folder is named, found email 1.0.0; put it into the folder email/1.0.0",
		},
		{
			"manifest of another version", func(h *house) {
				h.put("1.0.0", script("x"), func(m *catalog.Manifest) { m.Version = "0.9.0" })
			},
			"manifest of another version: expected sms 1.0.0, as the folder is named, found sms 0.9.0; put it into the folder sms/0.9.0",
		},
		{
			"malformed manifest", func(h *house) {
				h.put("1.0.0", script("x"), nil)
				write(h.t, h.path("1.0.0", "plugin.hcl"), "nam = \"sms\"\n", 0o644)
			},
			"invalid manifest: expected a plugin.hcl without faults, found ",
		},
		{
			"oversize manifest", func(h *house) {
				h.put("1.0.0", script("x"), nil)
				write(h.t, h.path("1.0.0", "plugin.hcl"), strings.Repeat("\n", 1<<17), 0o644)
			},
			"oversize ",
		},
		{"empty file", func(h *house) { h.put("1.0.0", "", nil) }, wrongFormat("an empty file")},
		{"no program", func(h *house) { h.put("1.0.0", "hello", plain) }, wrongFormat("a file of no known executable format")},
		{"Mach-O", func(h *house) { h.put("1.0.0", machoFile, nil) }, wrongFormat("a Mach-O file for arm64")},
		{
			"no interpreter", func(h *house) { h.put("1.0.0", "#!/usr/bin/absent -x\n", plain) },
			`missing interpreter: expected "/usr/bin/absent", which the file names, found none on this machine; install it`,
		},
		{
			"no interpreter for env", func(h *house) { h.put("1.0.0", "#!/usr/bin/env absent\n", plain) },
			`missing interpreter: expected "absent", which the file names, found none on this machine; install it in a folder of the gateway's PATH`,
		},
		{
			"no interpreter for env -S", func(h *house) { h.put("1.0.0", "#!/usr/bin/env -S A=b absent -u\n", plain) },
			`missing interpreter: expected "absent", which `,
		},
		{
			"script from another system", func(h *house) { h.put("1.0.0", "#!/bin/sh\r\necho\r\n", plain) },
			`missing interpreter: expected "/bin/sh\r", which the file names, found none on this machine; end the lines of the file with LF alone`,
		},
		{"script for nobody", func(h *house) { h.put("1.0.0", "#!\n", plain) }, wrongFormat("a script that names no interpreter")},
	})
}

// The same for executables in the format of Linux.
func TestBadELFFiles(t *testing.T) {
	needNative(t)
	checkBadFolders(t, []badFolder{
		{"another architecture", func(h *house) { h.put("1.0.0", elfFile(elf.EM_PPC64, elf.ET_EXEC, 0), nil) }, wrongFormat("an ELF file for ppc64le")},
		{"an architecture without Go", func(h *house) { h.put("1.0.0", elfFile(elf.EM_SPARCV9, elf.ET_EXEC, 0), nil) }, wrongFormat("an ELF file for SPARCV9, ELFCLASS64, ELFDATA2LSB")},
		{"another system", func(h *house) { h.put("1.0.0", elfFile(native, elf.ET_EXEC, elf.ELFOSABI_FREEBSD), nil) }, wrongFormat("an ELF file for freebsd")},
		{"object file", func(h *house) { h.put("1.0.0", elfFile(native, elf.ET_REL, 0), nil) }, wrongFormat("an ELF file that is no program (ET_REL)")},
		{"half an ELF file", func(h *house) { h.put("1.0.0", elfFile(native, elf.ET_EXEC, 0)[:200], nil) }, wrongFormat("an incomplete ELF file: 200 of at least 300 bytes")},
		{"a piece of an ELF file", func(h *house) { h.put("1.0.0", elfFile(native, elf.ET_EXEC, 0)[:70], nil) }, wrongFormat("a damaged or incomplete ELF file: ")},
		{"an ELF file without its symbols", func(h *house) { h.put("1.0.0", elfFileWithSymbols()[:599], nil) }, wrongFormat("an incomplete ELF file: 599 of at least 600 bytes")},
		{
			"no loader", func(h *house) { h.put("1.0.0", elfFileWith(native, "/lib/ld-absent.so"), nil) },
			`missing interpreter: expected "/lib/ld-absent.so", which the file names, found none on this machine; install it, or build the plugin with CGO_ENABLED=0`,
		},
	})
}

// badFolder is a folder that cannot be used.
type badFolder struct {
	name string
	lay  func(*house)
	want string // what the problem begins with
}

func checkBadFolders(t *testing.T, tests []badFolder) {
	t.Helper()
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			h := open(t, nil)
			test.lay(h)
			v := h.only()
			if v.Problem == nil || !strings.HasPrefix(v.Problem.Error(), test.want) || !v.Problem.Permanent {
				t.Fatalf("want a permanent problem %s…\nhave %v", test.want, v.Problem)
			}
			if _, err := h.Stage(v); err != error(v.Problem) {
				t.Errorf("it is staged: %v", err)
			}
			if left, _ := os.ReadDir(h.store); len(left) != 0 {
				t.Errorf("the store has %v", left)
			}
		})
	}
}

func TestBadPluginName(t *testing.T) {
	h := open(t, nil)
	write(t, filepath.Join(h.dir, "S M S", "1.0.0", "S M S"), script("x"), 0o755)
	v := h.only()
	want := `invalid plugin name: expected a folder named with a–z, 0–9, - and _, at most 63 characters, found "S M S"; rename the folder`
	if v.Name != "S M S" || v.Problem == nil || v.Problem.Error() != want {
		t.Errorf("have %+v", v)
	}
}

func TestGoodFormats(t *testing.T) {
	for name, content := range map[string]string{
		"script":         "#! /bin/sh -e\n",
		"without an end": "#!/bin/sh",
		"env":            "#!/usr/bin/env sh\n",
		"env -S":         "#!/usr/bin/env -S A=b sh -e\n",
		"zipapp":         "#!/bin/sh\nPK\x03\x04",
	} {
		checkGood(t, name, content)
	}
}

func TestGoodELFFiles(t *testing.T) {
	needNative(t)
	checkGood(t, "at a fixed address", elfFile(native, elf.ET_EXEC, 0))
	checkGood(t, "with symbols", elfFileWithSymbols())
	checkGood(t, "at any address", elfFile(native, elf.ET_DYN, elf.ELFOSABI_LINUX))
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	checkGood(t, "this test", string(content))
}

func checkGood(t *testing.T, name, content string) {
	t.Helper()
	h := open(t, nil)
	h.put("1.0.0", content, plain)
	v := h.only()
	if v.Problem != nil {
		t.Errorf("%s: %v", name, v.Problem)
		return
	}
	if _, err := h.Stage(v); err != nil {
		t.Errorf("%s: %v", name, err)
	}
}

// Bytes that change under a name and a version are found out, by the first that were seen.
func TestChangedVersion(t *testing.T) {
	for name, manifest := range map[string]func(*catalog.Manifest){"with a manifest": plain, "without": nil} {
		t.Run(name, func(t *testing.T) {
			h := open(t, nil)
			h.put("1.0.0", script("old"), manifest)
			if v := h.only(); v.Problem != nil {
				t.Fatal(v.Problem)
			}
			h.put("1.0.0", script("new"), manifest)
			want := "changed version: expected sha256 " + sum(script("old")) + ", as it was first seen, found sha256 " + sum(script("new")) +
				"; install the new build as a new version"
			if v := h.only(); v.Problem == nil || v.Problem.Error() != want {
				t.Errorf("want %s, have %v", want, v.Problem)
			}
			h.put("1.0.0", script("old"), manifest)
			if v := h.only(); v.Problem != nil {
				t.Errorf("as it was: %v", v.Problem)
			}
		})
	}
}

// A version that was faulty when it was first seen is not held to those bytes: it may have been half copied.
func TestCompletedVersion(t *testing.T) {
	needNative(t)
	h := open(t, nil)
	whole := elfFile(native, elf.ET_EXEC, 0)
	h.put("1.0.0", whole[:len(whole)-1], nil)
	if v := h.only(); v.Problem == nil {
		t.Error("half a file passes")
	}
	h.put("1.0.0", whole, nil)
	if v := h.only(); v.Problem != nil {
		t.Error(v.Problem)
	}
}

// Where there is no manifest the operator may link to an executable, and to a version.
func TestLinks(t *testing.T) {
	h := open(t, nil)
	elsewhere := filepath.Join(t.TempDir(), "sms")
	write(t, elsewhere, script("linked"), 0o755)
	h.mkdir("1.0.0", "")
	h.link(elsewhere, "1.0.0", "sms")
	if says := h.run(h.only()); says != "linked" {
		t.Errorf("it says %q", says)
	}
	h.link(h.path("1.0.0"), "1.1.0", "")
	for _, v := range h.scan() {
		if v.Problem != nil {
			t.Error(v.Problem)
		}
	}
}

func TestMissingFolder(t *testing.T) {
	h := reopen(t, filepath.Join(t.TempDir(), "absent"), filepath.Join(t.TempDir(), "store"), nil)
	if _, err := h.Scan(); err == nil {
		t.Error("a missing folder has no plugins and no error")
	}
}

// delete, chmod, mkdir, pipe and link change a version's folder.
func (h *house) delete(version, file string) { h.must(os.Remove(h.path(version, file))) }

func (h *house) chmod(version, file string, mode os.FileMode) {
	h.must(os.Chmod(h.path(version, file), mode))
}

func (h *house) mkdir(version, file string) { h.must(os.MkdirAll(h.path(version, file), 0o755)) }

func (h *house) pipe(version, file string) { h.must(syscall.Mkfifo(h.path(version, file), 0o755)) }

func (h *house) link(to, version, file string) { h.must(os.Symlink(to, h.path(version, file))) }

func (h *house) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

func wrongFormat(found string) string {
	return "wrong architecture or format: expected an executable for " + runtime.GOOS + "/" + runtime.GOARCH + ", found " + found
}

// needNative leaves a test out where this machine's executables are not those that elfFile makes.
func needNative(t *testing.T) {
	t.Helper()
	if runtime.GOOS != "linux" || native == elf.EM_NONE {
		t.Skip("executables have another format here")
	}
}

// native is this machine's.
var native = map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}[runtime.GOARCH]

// elfFile makes an ELF file of 300 bytes.
func elfFile(machine elf.Machine, kind elf.Type, abi elf.OSABI) string {
	return elfImage(machine, kind, abi, elf.Prog64{Type: uint32(elf.PT_LOAD), Filesz: 300})
}

// elfFileWith makes an ELF file that names its loader.
func elfFileWith(machine elf.Machine, loader string) string {
	image := elfImage(machine, elf.ET_DYN, 0, elf.Prog64{Type: uint32(elf.PT_INTERP), Off: 150, Filesz: uint64(len(loader) + 1)})
	return image[:150] + loader + "\x00" + image[150+len(loader)+1:]
}

// elfFileWithSymbols makes an ELF file of 600 bytes, of which the last 50 are not loaded.
func elfFileWithSymbols() string {
	const table = 300
	image := []byte(elfFile(native, elf.ET_EXEC, 0) + strings.Repeat("\x00", 300))
	binary.LittleEndian.PutUint64(image[40:], table) // Header64.Shoff
	binary.LittleEndian.PutUint16(image[60:], 3)     // Shnum
	binary.LittleEndian.PutUint16(image[62:], 1)     // Shstrndx
	for i, s := range []elf.Section64{
		{}, {Type: uint32(elf.SHT_STRTAB), Off: 500, Size: 10}, {Type: uint32(elf.SHT_SYMTAB), Off: 550, Size: 50},
	} {
		if _, err := binary.Encode(image[table+64*i:], binary.LittleEndian, s); err != nil {
			panic(err)
		}
	}
	return string(image)
}

func elfImage(machine elf.Machine, kind elf.Type, abi elf.OSABI, segment elf.Prog64) string {
	header := elf.Header64{
		Ident: [16]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT), byte(abi)},
		Type:  uint16(kind), Machine: uint16(machine), Version: uint32(elf.EV_CURRENT), Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 1, Shentsize: 64,
	}
	var b bytes.Buffer
	for _, part := range []any{header, segment} {
		if err := binary.Write(&b, binary.LittleEndian, part); err != nil {
			panic(err)
		}
	}
	b.Write(make([]byte, 300-b.Len()))
	return b.String()
}

// machoFile is the header of a Mach-O file for arm64.
const machoFile = "\xcf\xfa\xed\xfe\x0c\x00\x00\x01\x00\x00\x00\x00\x02\x00\x00\x00" +
	"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
