package catalog

import (
	"bytes"
	"debug/elf"
	"debug/macho"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
)

// runnable finds what the operating system would object to when it executes the file, by its first bytes.
// A Python zipapp is a script like any other: it begins with #!.
func runnable(f io.ReaderAt, size int64) *Fault {
	head := make([]byte, 256) // as much of the first line as Linux reads
	n, err := f.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return wrongFormat("a file that cannot be read: "+err.Error(), err)
	}
	head = head[:n]
	switch {
	case bytes.HasPrefix(head, []byte("#!")):
		return script(head)
	case bytes.HasPrefix(head, []byte(elf.ELFMAG)):
		return elfFile(f, size)
	case isMachO(head):
		return machoFile(f)
	case n == 0:
		return wrongFormat("an empty file", nil)
	}
	return wrongFormat("a file of no known executable format", nil)
}

func wrongFormat(found string, cause error) *Fault {
	return &Fault{
		What: "wrong architecture or format", Expected: "an executable for " + runtime.GOOS + "/" + runtime.GOARCH,
		Found: found, Remedy: "build the plugin for this machine", Permanent: true, Cause: cause,
	}
}

func missingInterpreter(path, remedy string) *Fault {
	return &Fault{
		What: "missing interpreter", Expected: fmt.Sprintf("%q, which the file names", path),
		Found: "none on this machine", Remedy: remedy, Permanent: true,
	}
}

// script checks the interpreter of a file that begins with #!.
func script(head []byte) *Fault {
	line, _, _ := bytes.Cut(head[2:], []byte("\n"))
	words := strings.Fields(string(line))
	switch {
	case len(words) == 0:
		return wrongFormat("a script that names no interpreter", nil)
	case bytes.HasSuffix(line, []byte("\r")):
		return missingInterpreter(words[len(words)-1]+"\r", "end the lines of the file with LF alone")
	case !executable(words[0]):
		return missingInterpreter(words[0], "install it")
	case !strings.HasSuffix(words[0], "/env"):
		return nil
	}
	program := envProgram(words[1:])
	if _, err := exec.LookPath(program); err != nil {
		return missingInterpreter(program, "install it in a folder of the gateway's PATH")
	}
	return nil
}

// envProgram is the program among the arguments of env(1). Linux gives it all of them as one, which it splits
// only after -S.
func envProgram(words []string) string {
	if runtime.GOOS == "linux" && len(words) > 0 && !strings.HasPrefix(words[0], "-S") {
		return strings.Join(words, " ")
	}
	for _, w := range words {
		if w = strings.TrimPrefix(w, "-S"); w != "" && !strings.HasPrefix(w, "-") && !strings.Contains(w, "=") {
			return w
		}
	}
	return ""
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0
}

// machine is how ELF names a GOARCH.
type machine struct {
	machine elf.Machine
	class   elf.Class
	order   binary.ByteOrder
}

// machines are the architectures that Go builds for under Linux.
func machines() map[string]machine {
	little, big := binary.ByteOrder(binary.LittleEndian), binary.ByteOrder(binary.BigEndian)
	return map[string]machine{
		"386": {elf.EM_386, elf.ELFCLASS32, little}, "amd64": {elf.EM_X86_64, elf.ELFCLASS64, little},
		"arm": {elf.EM_ARM, elf.ELFCLASS32, little}, "arm64": {elf.EM_AARCH64, elf.ELFCLASS64, little},
		"loong64": {elf.EM_LOONGARCH, elf.ELFCLASS64, little}, "riscv64": {elf.EM_RISCV, elf.ELFCLASS64, little},
		"mips": {elf.EM_MIPS, elf.ELFCLASS32, big}, "mipsle": {elf.EM_MIPS, elf.ELFCLASS32, little},
		"mips64": {elf.EM_MIPS, elf.ELFCLASS64, big}, "mips64le": {elf.EM_MIPS, elf.ELFCLASS64, little},
		"ppc64": {elf.EM_PPC64, elf.ELFCLASS64, big}, "ppc64le": {elf.EM_PPC64, elf.ELFCLASS64, little},
		"s390x": {elf.EM_S390, elf.ELFCLASS64, big},
	}
}

// elfFile checks an ELF file against the running program.
func elfFile(r io.ReaderAt, size int64) *Fault {
	f, err := elf.NewFile(r)
	if err != nil {
		return wrongFormat("a damaged or incomplete ELF file: "+err.Error(), err)
	}
	want, known := machines()[runtime.GOARCH]
	switch {
	case runtime.GOOS != "linux":
		return wrongFormat("an ELF file", nil)
	case known && (f.Machine != want.machine || f.Class != want.class || f.ByteOrder != want.order):
		return wrongFormat("an ELF file for "+elfMachine(f), nil)
	case f.OSABI != elf.ELFOSABI_NONE && f.OSABI != elf.ELFOSABI_LINUX:
		return wrongFormat("an ELF file for "+strings.ToLower(strings.TrimPrefix(f.OSABI.String(), "ELFOSABI_")), nil)
	case f.Type != elf.ET_EXEC && f.Type != elf.ET_DYN:
		return wrongFormat("an ELF file that is no program ("+f.Type.String()+")", nil)
	}
	if fault := segments(f, size); fault != nil {
		return fault
	}
	return sections(f, size)
}

// elfMachine is the GOARCH of an ELF file, or its ELF name if Go has none.
func elfMachine(f *elf.File) string {
	for arch, m := range machines() {
		if f.Machine == m.machine && f.Class == m.class && f.ByteOrder == m.order {
			return arch
		}
	}
	return fmt.Sprintf("%s, %s, %s", strings.TrimPrefix(f.Machine.String(), "EM_"), f.Class, f.Data)
}

// segments checks that all of the program is there, and its dynamic loader too.
func segments(f *elf.File, size int64) *Fault {
	for _, p := range f.Progs {
		end := p.Off + p.Filesz
		switch {
		case p.Type == elf.PT_LOAD && (end < p.Off || end > uint64(size)):
			return incomplete(size, end)
		case p.Type == elf.PT_INTERP:
			loader, err := io.ReadAll(io.LimitReader(p.Open(), 4096))
			if path := string(bytes.TrimRight(loader, "\x00")); err != nil || !executable(path) {
				return missingInterpreter(path, "install it, or build the plugin with CGO_ENABLED=0")
			}
		}
	}
	return nil
}

// sections checks that what is not loaded is there too, such as symbols at the end of the file: without them the program
// would run, and somebody is still copying it.
func sections(f *elf.File, size int64) *Fault {
	for _, s := range f.Sections {
		if end := s.Offset + s.FileSize; s.Type != elf.SHT_NOBITS && (end < s.Offset || end > uint64(size)) {
			return incomplete(size, end)
		}
	}
	return nil
}

func incomplete(size int64, end uint64) *Fault {
	return wrongFormat(fmt.Sprintf("an incomplete ELF file: %d of at least %d bytes", size, end), nil)
}

func isMachO(head []byte) bool {
	if len(head) < 8 {
		return false
	}
	little, big := binary.LittleEndian.Uint32(head), binary.BigEndian.Uint32(head)
	// A Java class begins with the same four bytes as a universal Mach-O file; its version is above 40.
	universal := big == macho.MagicFat && binary.BigEndian.Uint32(head[4:]) < 40
	return little == macho.Magic32 || little == macho.Magic64 || universal
}

// machoFile checks a Mach-O file against the running program.
func machoFile(r io.ReaderAt) *Fault {
	cpus, err := machoCPUs(r)
	switch {
	case err != nil:
		return wrongFormat("a damaged Mach-O file: "+err.Error(), err)
	case runtime.GOOS != "darwin" || !slices.Contains(cpus, runtime.GOARCH):
		return wrongFormat("a Mach-O file for "+strings.Join(cpus, " and "), nil)
	}
	return nil
}

// machoCPUs are the architectures in a Mach-O file, as GOARCH where Go has a name for them.
func machoCPUs(r io.ReaderAt) ([]string, error) {
	if f, err := macho.NewFile(r); err == nil {
		return []string{machoCPU(f.Cpu)}, nil
	}
	f, err := macho.NewFatFile(r)
	if err != nil {
		return nil, err
	}
	cpus := make([]string, len(f.Arches))
	for i, a := range f.Arches {
		cpus[i] = machoCPU(a.Cpu)
	}
	return cpus, nil
}

func machoCPU(cpu macho.Cpu) string {
	return strings.ToLower(strings.TrimPrefix(cpu.String(), "Cpu"))
}
