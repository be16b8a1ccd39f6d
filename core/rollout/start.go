package rollout

import "context"

// Start puts what is stored in force for the first time, before Run: plugins that were never active get a version,
// and the host begins with the versions that it should. An error means that the store cannot be reached.
func (s *Service) Start(ctx context.Context) error {
	for range 2 { // what the first look chose, the second arranges
		if _, err := s.look(ctx); err != nil {
			return err
		}
	}
	return nil
}
