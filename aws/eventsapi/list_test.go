package eventsapi

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/bus"
	"github.com/berth-registry/berth/event"
	"github.com/berth-registry/berth/gate"
	"github.com/berth-registry/berth/secret"
	"github.com/berth-registry/berth/sqldb/sqldbtest"
)

// open lets everything through.
type open struct{}

func (open) Authorize(context.Context, gate.Call, string, string) (gate.Decision, error) {
	return gate.Decision{Allowed: true}, nil
}

func (open) Prepare(ctx context.Context, _ gate.Call) context.Context { return ctx }

func (open) Record(context.Context, gate.Call, time.Duration, error) {}

// TestLists: lists hold what they are asked for only.
func TestLists(t *testing.T) {
	db := sqldbtest.SQLite(t)
	if err := db.Migrate(t.Context(), "bus", bus.Migrations()); err != nil {
		t.Fatal(err)
	}
	b, err := bus.New(t.Context(), db, secret.NewMaster(make([]byte, 32)), &event.Outbox{}, bus.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := New(b, gate.New(open{}, open{}))
	ctx := gate.WithCaller(t.Context(), gate.Caller{Principal: arn.Root("000000000012"), Region: "eu-west-1"})
	connections, archives := map[string]*string{}, map[string]*string{}
	source := aws.String("arn:aws:events:eu-west-1:000000000012:event-bus/default")
	for _, n := range []string{"a", "b"} {
		c, err := s.CreateConnection(ctx, &eventbridge.CreateConnectionInput{Name: &n, AuthorizationType: types.ConnectionAuthorizationTypeApiKey,
			AuthParameters: &types.CreateConnectionAuthRequestParameters{ApiKeyAuthParameters: &types.CreateConnectionApiKeyAuthRequestParameters{ApiKeyName: aws.String("k"), ApiKeyValue: aws.String("v")}}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.CreateApiDestination(ctx, &eventbridge.CreateApiDestinationInput{Name: &n, ConnectionArn: c.ConnectionArn, HttpMethod: types.ApiDestinationHttpMethodPost,
			InvocationEndpoint: aws.String("https://example.com")}); err != nil {
			t.Fatal(err)
		}
		a, err := s.CreateArchive(ctx, &eventbridge.CreateArchiveInput{ArchiveName: &n, EventSourceArn: source})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.StartReplay(ctx, &eventbridge.StartReplayInput{ReplayName: &n, EventSourceArn: a.ArchiveArn, Destination: &types.ReplayDestination{Arn: source},
			EventStartTime: aws.Time(time.Unix(1, 0)), EventEndTime: aws.Time(time.Unix(2, 0))}); err != nil {
			t.Fatal(err)
		}
		connections[n], archives[n] = c.ConnectionArn, a.ArchiveArn
	}
	if _, err := s.CancelReplay(ctx, &eventbridge.CancelReplayInput{ReplayName: aws.String("a")}); err != nil {
		t.Fatal(err)
	}
	listed := func(out any, err error) []string {
		if err != nil {
			t.Fatal(err)
		}
		names := []string{}
		switch out := out.(type) {
		case *eventbridge.ListConnectionsOutput:
			for _, x := range out.Connections {
				names = append(names, *x.Name)
			}
		case *eventbridge.ListApiDestinationsOutput:
			for _, x := range out.ApiDestinations {
				names = append(names, *x.Name)
			}
		case *eventbridge.ListArchivesOutput:
			for _, x := range out.Archives {
				names = append(names, *x.ArchiveName)
			}
		case *eventbridge.ListReplaysOutput:
			for _, x := range out.Replays {
				names = append(names, *x.ReplayName)
			}
		}
		return names
	}
	for what, c := range map[string]struct {
		have []string
		want []string
	}{
		"all connections":        {listed(s.ListConnections(ctx, &eventbridge.ListConnectionsInput{})), []string{"a", "b"}},
		"connections of a state": {listed(s.ListConnections(ctx, &eventbridge.ListConnectionsInput{ConnectionState: types.ConnectionStateDeauthorized})), nil},
		"destinations of one":    {listed(s.ListApiDestinations(ctx, &eventbridge.ListApiDestinationsInput{ConnectionArn: connections["b"]})), []string{"b"}},
		"archives of a bus":      {listed(s.ListArchives(ctx, &eventbridge.ListArchivesInput{EventSourceArn: source})), []string{"a", "b"}},
		"archives of a state":    {listed(s.ListArchives(ctx, &eventbridge.ListArchivesInput{State: types.ArchiveStateDisabled})), nil},
		"replays of an archive":  {listed(s.ListReplays(ctx, &eventbridge.ListReplaysInput{EventSourceArn: archives["b"]})), []string{"b"}},
		"replays of a state":     {listed(s.ListReplays(ctx, &eventbridge.ListReplaysInput{State: types.ReplayStateCancelled})), []string{"a"}},
		"replays of a name":      {listed(s.ListReplays(ctx, &eventbridge.ListReplaysInput{NamePrefix: aws.String("b")})), []string{"b"}},
	} {
		if !slices.Equal(c.have, c.want) {
			t.Errorf("%s: %v, want %v", what, c.have, c.want)
		}
	}
}
