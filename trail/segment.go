package trail

import (
	"bytes"
	"compress/flate"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/sqldb"
)

// Seal turns rows that are no longer quite recent into segments, wherever they are many
// or old.
func (t *Trail) Seal(ctx context.Context) error {
	now := t.now()
	until, old := now.Add(-sealAfter).UnixMicro(), now.Add(-2*maxSpan).UnixMicro()
	for {
		places, err := t.fullPlaces(ctx, until, old, segmentRecords)
		if err != nil || len(places) == 0 {
			return err
		}
		for _, p := range places {
			if sealed, err := t.sealOne(ctx, p, until); err != nil || !sealed {
				return err // what stands in the way is gone the next time
			}
		}
	}
}

func (t *Trail) sealOne(ctx context.Context, p arn.Place, until int64) (sealed bool, err error) {
	list, err := t.readOldest(ctx, p, until, segmentRecords)
	if err != nil || len(list) == 0 {
		return false, err
	}
	rows := make([]*row, 0, len(list))
	for _, r := range list {
		if r.At.Sub(list[0].At) <= maxSpan {
			rows = append(rows, &row{record: r, body: r.encode()})
		}
	}
	s, err := t.segment(rows)
	if err != nil {
		return false, err
	}
	err = t.db.WriteRelaxed(ctx, func(tx *sqldb.Tx) error {
		if alone, err := removeRows(tx, p, s); err != nil {
			return err
		} else if !alone {
			return errCrowded
		}
		return insertSegment(tx, p, s)
	})
	if errors.Is(err, errCrowded) {
		return false, nil
	}
	return err == nil, err
}

// errCrowded undoes the sealing of records between which others have appeared.
var errCrowded = errors.New("records were added to those that were to be sealed")

// segment makes a segment of records, which it sorts by time.
func (t *Trail) segment(list []*row) (*segmentRow, error) {
	slices.SortFunc(list, func(a, b *row) int {
		if keyOf(a.record).before(keyOf(b.record)) {
			return -1
		}
		return 1
	})
	var b bytes.Buffer
	w, ok := t.deflaters.Get().(*flate.Writer) // making one costs as much as using it
	if ok {
		w.Reset(&b)
	} else {
		var err error
		if w, err = flate.NewWriter(&b, flate.BestSpeed); err != nil {
			return nil, err
		}
	}
	defer t.deflaters.Put(w)
	type kind struct{ name, source, user, key, target string }
	seen, attributes, activity := map[kind]bool{}, map[string]bool{}, map[activityKey]int64{}
	for _, x := range list {
		if _, err := w.Write(append(x.body, '\n')); err != nil {
			return nil, err
		}
		r := x.record
		activity[r.activity()]++
		k := kind{r.Name, r.Source, r.Who.ARN, r.Who.AccessKeyID, strings.Join(r.Targets, " ")}
		if seen[k] { // most are like another one
			continue
		}
		seen[k] = true
		for _, a := range r.attributes() {
			attributes[a] = true
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return &segmentRow{first: keyOf(list[0].record), last: keyOf(list[len(list)-1].record), records: len(list), body: b.Bytes(),
		attributes: slices.Sorted(maps.Keys(attributes)), activity: activity}, nil
}

func keyOf(r *Record) key { return key{r.At.UnixMicro(), r.ID} }

// open reads a segment's records, the newest first.
func (s *segmentRow) open(p arn.Place) ([]*Record, error) {
	dec := json.NewDecoder(flate.NewReader(bytes.NewReader(s.body)))
	var out []*Record
	for {
		r := &Record{Place: p}
		switch err := dec.Decode(r); {
		case errors.Is(err, io.EOF):
			slices.Reverse(out)
			return out, nil
		case err != nil:
			return nil, fmt.Errorf("a segment of the trail does not open: %w", err)
		}
		out = append(out, r)
	}
}
