// Package segment turns texts into short messages and back: it chooses the encoding, splits a long
// text into parts that phones put together again, and reads the parts of others.
//
// A short message carries 140 octets: 160 septets of the GSM alphabet or 70 units of UCS-2. Each part
// of a longer text begins with a user data header of 6 octets (3GPP TS 23.040 section 9.2.3.24.1),
// which leaves 153 septets or 67 units. Characters that take two septets or two units, those of the
// extension table and those outside of the Basic Multilingual Plane, are never cut in two.
package segment
