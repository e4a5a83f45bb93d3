package registry

import (
	"context"
	"time"

	"github.com/berth-registry/berth/sqldb"
)

// sweepBatch is how many rows of a kind one step of a sweep touches, so that no
// step keeps the database long.
const sweepBatch = 500

// suspendAfter is how long an idle upload keeps its file open.
const suspendAfter = time.Minute

// Sweep does one round of background work: uploads that nobody used for their
// life end, idle ones are put to sleep, leftovers of templates and the rows of
// deleted repositories go. It may run on many nodes at once.
func (r *Registry) Sweep(ctx context.Context) error {
	for _, step := range []func(context.Context) error{r.sweepLive, r.sweepUploads, r.sweepEnded, r.sweepLeftovers, r.sweepPurges} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// sweepLive ends or suspends this process's idle uploads.
func (r *Registry) sweepLive(ctx context.Context) error {
	now := r.now()
	for _, s := range r.live.all() {
		if !s.mu.TryLock() {
			continue
		}
		idle := now.Sub(s.used)
		switch {
		case s.ended:
		case idle >= r.limits.UploadLife:
			s.ended = true
			s.up.Discard()
			r.live.remove(s)
			if err := r.endUpload(ctx, s.ref, s.persisted); err != nil {
				s.mu.Unlock()
				return err
			}
		case idle >= suspendAfter && !s.persisted && !r.db.SingleProcess():
			s.ended = true // nothing came, and the id will do
			s.up.Discard()
			r.live.remove(s)
		case idle >= suspendAfter && s.persisted:
			s.ended = true // this object; the row lives on
			r.live.remove(s)
			if err := s.up.Suspend(); err != nil {
				r.log.Warn("suspending an upload", "upload", s.ref.ID, "error", err)
			}
		}
		s.mu.Unlock()
	}
	return nil
}

func (r *Registry) sweepUploads(ctx context.Context) error {
	before := sqldb.Micros(r.now().Add(-r.limits.UploadLife))
	for {
		list, err := r.staleUploads(ctx, before, sweepBatch)
		if err != nil || len(list) == 0 {
			return err
		}
		for _, u := range list {
			claimed, err := r.claimUpload(ctx, u, before)
			if err != nil {
				return err
			}
			if claimed && u.key != "" {
				if err := r.blobs.Store().Delete(ctx, u.key); err != nil {
					return err
				}
			}
		}
	}
}

// sweepEnded forgets that uploads have ended whose ids say no more that they can go on; other
// nodes' clocks may be behind.
func (r *Registry) sweepEnded(ctx context.Context) error {
	for {
		if n, err := r.forgetEnded(ctx, r.now().Add(-2*begunFor), sweepBatch); err != nil || n < sweepBatch {
			return err
		}
	}
}

func (r *Registry) sweepLeftovers(ctx context.Context) error {
	now := r.now()
	before := sqldb.Micros(now.Add(-r.limits.LeftoverLife))
	list, err := r.leftovers(ctx, before, sweepBatch)
	if err != nil {
		return err
	}
	open := map[int64]bool{}
	for _, s := range r.live.all() {
		open[s.repo] = true
	}
	for _, l := range list {
		if open[l.id] {
			continue
		}
		if err := r.removeLeftover(ctx, l, before, sqldb.Micros(now)); err != nil {
			return err
		}
		r.cache.dropAll()
		r.log.Info("removed a repository that a template made and nobody filled", "account", l.place.Account, "region", l.place.Region, "repository", l.name)
	}
	return nil
}

func (r *Registry) sweepPurges(ctx context.Context) error {
	list, err := r.purges(ctx, sweepBatch)
	if err != nil {
		return err
	}
	for _, p := range list {
		for done := false; !done; {
			if done, err = r.purgeSome(ctx, p, sweepBatch); err != nil {
				return err
			}
		}
	}
	return nil
}

// Close writes what is only in memory and lets go of open uploads, so that the
// next process can resume them.
func (r *Registry) Close(ctx context.Context) {
	if err := r.flushPulls(ctx); err != nil {
		r.log.Warn("recording pulls", "error", err)
	}
	for _, s := range r.live.all() {
		s.mu.Lock()
		if !s.ended {
			s.ended = true
			end := s.up.Suspend
			if !s.persisted { // nobody was told more than its beginning
				end = func() error { s.up.Discard(); return nil }
			}
			if err := end(); err != nil {
				r.log.Warn("suspending an upload", "upload", s.ref.ID, "error", err)
			}
		}
		s.mu.Unlock()
	}
}
