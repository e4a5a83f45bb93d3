package trail

import (
	"bytes"
	"compress/flate"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/sqldb"
)

// Seal turns recent records that are no longer quite recent into segments, wherever
// there are enough of them.
func (t *Trail) Seal(ctx context.Context) error {
	until := t.now().Add(-sealAfter).UnixMicro()
	for {
		places, err := t.fullPlaces(ctx, until, segmentRecords)
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
	if err != nil || len(list) < segmentRecords {
		return false, err
	}
	s, err := segment(list)
	if err != nil {
		return false, err
	}
	err = t.db.WriteRelaxed(ctx, func(tx *sqldb.Tx) error {
		var err error
		if sealed, err = insertSegment(tx, p, s); err == nil && !sealed {
			err = errCrowded
		}
		return err
	})
	if err == errCrowded { //nolint:errorlint // it is returned as itself
		return false, nil
	}
	return sealed, err
}

// errCrowded undoes the sealing of records between which others have appeared.
var errCrowded = fmt.Errorf("records were added to those that were to be sealed")

// segment makes a segment of records in order of time.
func segment(list []*Record) (*segmentRow, error) {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestSpeed)
	if err != nil {
		return nil, err
	}
	enc := json.NewEncoder(w)
	attributes := map[string]bool{}
	for _, r := range list {
		if err := enc.Encode(r); err != nil {
			return nil, err
		}
		for _, a := range r.attributes() {
			attributes[a] = true
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return &segmentRow{first: keyOf(list[0]), last: keyOf(list[len(list)-1]), records: len(list), body: b.Bytes(),
		attributes: slices.Sorted(maps.Keys(attributes))}, nil
}

func keyOf(r *Record) key { return key{r.At.UnixMicro(), r.ID} }

// open reads a segment's records, the newest first.
func (s *segmentRow) open(p arn.Place) ([]*Record, error) {
	dec := json.NewDecoder(flate.NewReader(bytes.NewReader(s.body)))
	var out []*Record
	for {
		r := &Record{Place: p}
		switch err := dec.Decode(r); {
		case err == io.EOF: //nolint:errorlint // the decoder returns it as itself
			slices.Reverse(out)
			return out, nil
		case err != nil:
			return nil, fmt.Errorf("a segment of the trail does not open: %w", err)
		}
		out = append(out, r)
	}
}
