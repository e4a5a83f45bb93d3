package function

import (
	"context"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/sqldb"
)

// EventConfig says how asynchronous invocations are tried again; -1 is the default.
type EventConfig struct {
	Retries   int    `json:"retries"`
	Age       int    `json:"age"` // seconds
	OnSuccess string `json:"onSuccess,omitempty"`
	OnFailure string `json:"onFailure,omitempty"`
	Modified  int64  `json:"modified"` // milliseconds
}

// PutEventConfig sets how asynchronous invocations of a qualifier are tried again: fn
// changes the default or, unless anew, what was set before. NotFound, InvalidParameter.
func (s *Functions) PutEventConfig(ctx context.Context, p arn.Place, name, qualifier string, anew bool, fn func(*EventConfig)) (*EventConfig, error) {
	if _, err := s.Get(ctx, p, name, qualifier); err != nil {
		return nil, err
	}
	var c *EventConfig
	err := s.with(ctx, p, name, func(tx *sqldb.Tx, f *Function) error {
		var err error
		if c = defaultConfig(); !anew {
			if c, err = txEventConfig(tx, f, canonical(qualifier)); sqldb.IsNoRows(err) {
				return errEventConfig(f, qualifier)
			}
		}
		if err != nil {
			return err
		}
		fn(c)
		if err := c.check(); err != nil {
			return err
		}
		c.Modified = s.now().UnixMilli()
		return upsertEventConfig(tx, f, canonical(qualifier), c)
	})
	return c, err
}

func defaultConfig() *EventConfig { return &EventConfig{Retries: -1, Age: -1} }

func errEventConfig(f *Function, qualifier string) error {
	return fail(NotFound, "The function %s:%s doesn't have an EventInvokeConfig", f.ARN(), canonical(qualifier))
}

func (c *EventConfig) check() error {
	if c.Retries < -1 || c.Retries > 2 || c.Age != -1 && (c.Age < 60 || c.Age > 21600) {
		return fail(InvalidParameter, "MaximumRetryAttempts must be between 0 and 2, MaximumEventAgeInSeconds between 60 and 21600.")
	}
	for _, d := range []string{c.OnSuccess, c.OnFailure} {
		if a, err := arn.Parse(d); d != "" && (err != nil || a.Service != "lambda" && a.Service != "logs") {
			return fail(InvalidParameter, "The provided destination config DestinationConfig is invalid: this server delivers to functions and log groups, not to %.200s.", d)
		}
	}
	return nil
}

func canonical(qualifier string) string {
	if qualifier == "" {
		return Latest
	}
	return qualifier
}

// EventConfigOf returns how asynchronous invocations are tried again: NotFound when
// nobody has said.
func (s *Functions) EventConfigOf(ctx context.Context, p arn.Place, name, qualifier string) (*EventConfig, error) {
	f, err := s.Get(ctx, p, name, qualifier)
	if err != nil {
		return nil, err
	}
	c, err := s.readEventConfig(ctx, f, canonical(qualifier))
	if sqldb.IsNoRows(err) {
		return nil, errEventConfig(f, qualifier)
	}
	return c, err
}

// DeleteEventConfig goes back to the default: NotFound.
func (s *Functions) DeleteEventConfig(ctx context.Context, p arn.Place, name, qualifier string) error {
	if _, err := s.EventConfigOf(ctx, p, name, qualifier); err != nil {
		return err
	}
	return s.db.Write(ctx, func(tx *sqldb.Tx) error { return deleteEventConfig(tx, p, name, canonical(qualifier)) })
}
