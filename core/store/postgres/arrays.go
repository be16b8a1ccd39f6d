package postgres

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// array is a parameter that is in PostgreSQL's binary format of arrays already: dimensions, whether there are NULLs, type,
// length, lower bound, then each element behind its length.
type array []byte

func newArray(element uint32, length, size int) array {
	const header = 20
	a := make(array, 0, header+size)
	for _, v := range []uint32{1, 1, element, uint32(length), 1} {
		a = binary.BigEndian.AppendUint32(a, v)
	}
	return a
}

// arrays turns rows into columns. An element of an array is written as a value of a row is, so each is copied as it is.
func (c *copyRows) arrays() []any {
	sizes := make([]int, len(c.types))
	c.each(func(column int, value []byte) { sizes[column] += len(value) })
	columns := make([]array, len(c.types))
	for i, t := range c.types {
		columns[i] = newArray(t, c.count, sizes[i])
	}
	c.each(func(column int, value []byte) { columns[column] = append(columns[column], value...) })
	args := make([]any, len(columns))
	for i := range columns {
		args[i] = columns[i]
	}
	return args
}

// each calls f for every value of every row, each with its length before it.
func (c *copyRows) each(f func(column int, value []byte)) {
	rest := c.buf[len(copyHeader):]
	for range c.count {
		rest = rest[2:] // how many values the row has
		for i := range c.types {
			size := valueSize(rest)
			f(i, rest[:size])
			rest = rest[size:]
		}
	}
}

// valueSize is how many bytes the first value takes, with its length before it, which is -1 for NULL.
func valueSize(b []byte) int {
	const length = 4
	return length + int(max(0, int32(binary.BigEndian.Uint32(b))))
}

// arrayCodec lets an array pass as it is.
type arrayCodec struct{ pgtype.Codec }

// PlanEncode implements pgtype.Codec.
func (c arrayCodec) PlanEncode(m *pgtype.Map, oid uint32, format int16, value any) pgtype.EncodePlan {
	if _, ok := value.(array); ok && format == pgtype.BinaryFormatCode {
		return arrayPlan{}
	}
	return c.Codec.PlanEncode(m, oid, format, value)
}

type arrayPlan struct{}

// Encode implements pgtype.EncodePlan.
func (arrayPlan) Encode(value any, buf []byte) ([]byte, error) {
	a, _ := value.(array)
	return append(buf, a...), nil
}

// acceptArrays makes a connection take parameters of type array.
func acceptArrays(_ context.Context, conn *pgx.Conn) error {
	types := conn.TypeMap()
	for _, oid := range []uint32{
		pgtype.Int8ArrayOID, pgtype.Int4ArrayOID, pgtype.Int2ArrayOID, pgtype.TextArrayOID, pgtype.JSONArrayOID, pgtype.ByteaArrayOID, pgtype.TimestamptzArrayOID,
	} {
		known, ok := types.TypeForOID(oid)
		if !ok {
			return fmt.Errorf("the driver does not know the type of arrays %d", oid)
		}
		types.RegisterType(&pgtype.Type{Name: known.Name, OID: oid, Codec: arrayCodec{known.Codec}})
	}
	return nil
}
