package aliyun

import "sync"

// maxLost bounds how many requests without an answer are remembered.
const maxLost = 1000

// lost remembers the attempts of requests whose answers were lost. Receipts of such a request name it by its OutId, which stands
// for all of its messages, and by a BizId that nobody was told. Another process knows nothing of it: there the receipts
// match no attempt.
type lost struct {
	mu       sync.Mutex
	attempts map[string]map[string]string // by OutId, then by number
	order    []string                     // OutIds, oldest first
}

func (l *lost) remember(outID string, group []item) {
	byPhone := make(map[string]string, len(group))
	for _, it := range group {
		byPhone[it.phone] = it.attempt
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.attempts == nil {
		l.attempts = make(map[string]map[string]string)
	}
	l.attempts[outID] = byPhone
	l.order = append(l.order, outID)
	if len(l.order) > maxLost {
		delete(l.attempts, l.order[0])
		l.order = l.order[1:]
	}
}

// attempt gives the attempt that a receipt is about; "" if it is not known.
func (l *lost) attempt(outID, phone string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.attempts[outID][phone]
}
