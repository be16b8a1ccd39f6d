package main

import (
	"fmt"
	"strconv"
	"time"
)

// timeAuto is the format that guesses.
const timeAuto = "auto"

// clock reads the times of a provider.
type clock struct {
	layout string // timeAuto or a Go layout
	zone   *time.Location
}

func compileClock(field, layout, zone string) (clock, error) {
	c := clock{layout: layout}
	var faults problems
	var err error
	if c.zone, err = time.LoadLocation(zone); err != nil {
		faults.add(field+".time_zone", fmt.Sprintf("%q is no time zone", zone), "write it as Asia/Shanghai")
	}
	// A layout in which nothing stands for a part of a time gives itself back.
	if layout != timeAuto && time.Unix(0, 0).UTC().Format(layout) == time.Unix(1e9, 0).UTC().Format(layout) {
		faults.add(field+".time_format", fmt.Sprintf("%q is no layout of Go", layout), "write the time 2006-01-02 15:04:05 as the provider would, or auto")
	}
	return c, faults.err()
}

// read reads a time as it stands in a payload.
func (c clock) read(text string) (time.Time, error) {
	if c.layout != timeAuto {
		t, err := time.ParseInLocation(c.layout, text, c.zone)
		if err != nil {
			return time.Time{}, fmt.Errorf("%q is not written as time_format says", text)
		}
		return t, nil
	}
	if n, err := strconv.ParseFloat(text, 64); err == nil {
		return fromNumber(n, text)
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, fmt.Errorf("%q is neither RFC 3339 nor a number: set time_format", text)
	}
	return t, nil
}

// Bounds of numbers that are times: in seconds up to the year 5138, in milliseconds as far.
const (
	maxSeconds = 1e11
	maxMillis  = 1e14
)

func fromNumber(n float64, text string) (time.Time, error) {
	switch {
	case n > 0 && n < maxSeconds:
		return time.UnixMilli(int64(n * 1000)), nil
	case n >= maxSeconds && n < maxMillis:
		return time.UnixMilli(int64(n)), nil
	default:
		return time.Time{}, fmt.Errorf("%q is no time in seconds or milliseconds since 1970", text)
	}
}
