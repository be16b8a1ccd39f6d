package postgres

import "slices"

// runs are stretches of ids without a gap: messages that were accepted together have such ids, and a stretch costs one
// look into the index, however long it is.
type runs struct{ first, last []int64 }

// runsOf puts ids into runs.
func runsOf(ids []int64) runs {
	var r runs
	for _, id := range slices.Sorted(slices.Values(ids)) {
		r.add(id)
	}
	return r
}

// add takes an id that is not below the one before, and says whether it began a run.
func (r *runs) add(id int64) bool {
	if n := len(r.last); n > 0 && (r.last[n-1] == id || r.last[n-1] == id-1) {
		r.last[n-1] = id
		return false
	}
	r.first, r.last = append(r.first, id), append(r.last, id)
	return true
}
