package cli

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/csv"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"slices"
	"strings"
	"unicode/utf8"
)

const (
	// maxRowBytes bounds one row, so that a quote that nobody closes does not read the whole file into memory.
	maxRowBytes = 1 << 20
	// shownProblems is how many problems of a file are told in full.
	shownProblems = 20
)

// sheet is a CSV file that has been read once from end to end.
type sheet struct {
	file      *os.File
	name      string
	columns   []string
	recipient int      // index of the column with the recipient
	rows      int      // without the header
	hash      [32]byte // of the content
	bad       map[int]bool
	problems  []string // the first shownProblems
	faults    int      // all
	broken    bool     // the rest of the file cannot be read
}

// openSheet reads a whole file and notes all that is wrong with it. Rows are numbered as in a spreadsheet:
// the header is row 1; empty lines are not counted. The caller closes it.
func openSheet(name, recipientColumn string) (*sheet, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read the CSV file: %w", err)
	}
	s := &sheet{file: file, name: name, bad: map[int]bool{}}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file; it is read twice", name)
	}
	if err == nil {
		err = s.inspect(recipientColumn)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read the CSV file: %w", err), file.Close())
	}
	return s, nil
}

func (s *sheet) inspect(recipientColumn string) error {
	sum := sha256.New()
	rows, err := s.open(sum)
	if err != nil {
		return err
	}
	header, err := rows.next()
	if errors.Is(err, io.EOF) {
		s.problem(1, "", "the file is empty; its first row names the columns")
		return nil
	}
	if err != nil {
		return s.stopAt(1, err)
	}
	s.readHeader(header, recipientColumn)
	for {
		cells, err := rows.next()
		if errors.Is(err, io.EOF) {
			break
		}
		s.rows++
		if err != nil {
			return s.stopAt(s.rows+1, err)
		}
		s.checkRow(s.rows+1, cells)
	}
	if s.rows == 0 {
		s.problem(2, "", "the file has no row below its header")
	}
	s.hash = [32]byte(sum.Sum(nil))
	return nil
}

// stopAt notes an error after which the CSV reader has lost its place.
func (s *sheet) stopAt(row int, err error) error {
	parse, ok := errors.AsType[*csv.ParseError](err)
	if !ok && !errors.Is(err, errRowTooLong) {
		return err // the disk
	}
	s.broken = true
	if !ok {
		s.problem(row, "", err.Error())
		return nil
	}
	s.problem(row, fmt.Sprintf(" (line %d, byte %d)", parse.Line, parse.Column),
		"bad quoting: "+parse.Err.Error()+`; a cell with a quote is written "like ""this"""`)
	return nil
}

func (s *sheet) readHeader(header []string, recipientColumn string) {
	s.recipient = -1
	for i, cell := range header {
		column := strings.TrimSpace(cell)
		where := fmt.Sprintf(", column %d", i+1)
		switch {
		case !utf8.ValidString(cell):
			s.problem(1, where, notUTF8)
		case column == "":
			s.problem(1, where, "has no name; the first row names the columns")
		case slices.Contains(s.columns, column):
			s.problem(1, where, fmt.Sprintf("%q stands there twice", column))
		}
		if column == recipientColumn && s.recipient < 0 {
			s.recipient = i
		}
		s.columns = append(s.columns, column)
	}
	if s.recipient < 0 {
		s.problem(1, "", fmt.Sprintf("no column is named %q; there are %s (--recipient-column names another)", recipientColumn, strings.Join(s.columns, ", ")))
	}
}

const notUTF8 = "is not UTF-8; save the file as UTF-8 (a file from a spreadsheet may be GBK or Latin-1)"

func (s *sheet) checkRow(row int, cells []string) {
	if len(cells) != len(s.columns) {
		s.problem(row, "", fmt.Sprintf("has %s; the header has %d", count(len(cells), "column"), len(s.columns)))
		return
	}
	for i, cell := range cells {
		where := fmt.Sprintf(", column %d (%s)", i+1, s.columns[i])
		switch {
		case !utf8.ValidString(cell):
			s.problem(row, where, notUTF8)
		case strings.ContainsRune(cell, 0):
			s.problem(row, where, "contains a NUL character")
		case i == s.recipient && strings.TrimSpace(cell) == "":
			s.problem(row, where, "is empty")
		}
	}
}

func (s *sheet) problem(row int, where, what string) {
	if row > 1 {
		s.bad[row] = true
	} else {
		s.broken = true // without a sound header no row means anything
	}
	s.faults++
	if len(s.problems) < shownProblems {
		s.problems = append(s.problems, fmt.Sprintf("%s: row %d%s: %s", s.name, row, where, what))
	}
}

// require notes the variables for which there is neither a column nor a value.
func (s *sheet) require(variables []string, given map[string]string) {
	for _, v := range variables {
		if _, ok := given[v]; !ok && !slices.Contains(s.columns, v) {
			s.problem(1, "", fmt.Sprintf("no column is named %q, which the text uses; there are %s (--var %s=... gives one value to all)",
				v, strings.Join(s.columns, ", "), v))
		}
	}
}

// report is all that is wrong, for people.
func (s *sheet) report() string {
	text := strings.Join(s.problems, "\n")
	if more := s.faults - len(s.problems); more > 0 {
		text += fmt.Sprintf("\n... and %d more", more)
	}
	return text
}

// close closes the file, which was only read.
func (s *sheet) close() { s.file.Close() }

// rows reads a sheet from its beginning.
type rows struct {
	csv   *csv.Reader
	bound *rowBound
}

// open starts at the beginning; sum, if there is one, sees every byte.
func (s *sheet) open(sum hash.Hash) (*rows, error) {
	if _, err := s.file.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	var source io.Reader = s.file
	if sum != nil {
		source = io.TeeReader(source, sum)
	}
	buffered := bufio.NewReader(source)
	start, err := buffered.Peek(3)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	switch {
	case bytes.HasPrefix(start, []byte("\xff\xfe")), bytes.HasPrefix(start, []byte("\xfe\xff")):
		return nil, errors.New("the file is UTF-16; save it as UTF-8")
	case bytes.HasPrefix(start, []byte("\xef\xbb\xbf")): // the byte order mark that spreadsheets write
		if _, err := buffered.Discard(3); err != nil {
			return nil, err
		}
	}
	bound := &rowBound{source: buffered}
	reader := csv.NewReader(bound)
	reader.FieldsPerRecord = -1 // told with the number of the row instead
	return &rows{csv: reader, bound: bound}, nil
}

// next returns the cells of the next row.
func (r *rows) next() ([]string, error) {
	r.bound.left = maxRowBytes
	return r.csv.Read()
}

var errRowTooLong = fmt.Errorf("the row has more than %d bytes; is a quote open that nobody closes?", maxRowBytes)

// rowBound fails when one row asks for too many bytes.
type rowBound struct {
	source io.Reader
	left   int
}

// Read implements io.Reader.
func (b *rowBound) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errRowTooLong
	}
	n, err := b.source.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}
