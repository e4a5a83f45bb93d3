package registry

import (
	"maps"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/event"
	"github.com/berth-registry/berth/sqldb"
)

// Detail-types of what happens to images (Amazon ECR user guide, events).
const (
	imageAction    = "ECR Image Action"
	referrerAction = "ECR Referrer Action"
)

// told is the event of what happens to an image, nil if nobody wants it.
func (r *Registry) told(p arn.Place, repository, detailType string, detail map[string]string) *event.Event {
	e := &event.Event{Place: p, Source: "aws.ecr", DetailType: detailType, Time: r.now(), Key: arn.Repository(p, repository).String()}
	if !r.events.Wants(e) {
		return nil
	}
	detail["result"], detail["repository-name"] = "SUCCESS", repository
	maps.DeleteFunc(detail, func(_, v string) bool { return v == "" })
	if e.Detail = []byte(sqldb.JSON(detail)); !r.events.Wants(e) {
		return nil
	}
	return e
}

// tell puts an event on the outbox, in the transaction of what it tells of.
func (r *Registry) tell(tx *sqldb.Tx, e *event.Event) error {
	if e == nil {
		return nil
	}
	return r.events.AppendWanted(tx, e)
}

// toldPush is the event of a push, which is made ahead of its transaction: whether anybody
// wants it takes longer to find out than what others would wait for.
func (r *Registry) toldPush(n *NewImage, put *Put) *event.Event {
	kind, artifact := imageAction, put.ArtifactType
	if put.Subject != "" {
		kind = referrerAction
	}
	if artifact == "" {
		artifact = put.ConfigType
	}
	return r.told(n.Place, n.Repository, kind, map[string]string{"action-type": "PUSH", "image-digest": put.Digest, "image-tag": n.Tag,
		"manifest-media-type": put.MediaType, "artifact-media-type": artifact})
}

func (r *Registry) tellDelete(tx *sqldb.Tx, repo *Repository, img *Image, gone []Deleted) error {
	kind := imageAction
	if img.Subject != "" {
		kind = referrerAction
	}
	for _, d := range gone {
		if err := r.tell(tx, r.told(repo.Place, repo.Name, kind, map[string]string{"action-type": "DELETE", "image-digest": d.Digest, "image-tag": d.Tag,
			"manifest-media-type": img.MediaType})); err != nil {
			return err
		}
	}
	return nil
}
