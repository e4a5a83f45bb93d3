package registry

import (
	"encoding/json"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/event"
	"github.com/berth-registry/berth/sqldb"
)

// Detail-types of what happens to images (Amazon ECR user guide, events).
const (
	imageAction    = "ECR Image Action"
	referrerAction = "ECR Referrer Action"
)

// tell puts what happened to an image on the outbox, in the transaction in which it
// happens.
func (r *Registry) tell(tx *sqldb.Tx, repo *Repository, detailType string, detail map[string]string) error {
	e := &event.Event{Place: repo.Place, Source: "aws.ecr", DetailType: detailType, Time: r.now(), Key: arn.Repository(repo.Place, repo.Name).String()}
	if !r.events.Wants(e) {
		return nil
	}
	detail["result"], detail["repository-name"] = "SUCCESS", repo.Name
	for k, v := range detail {
		if v == "" {
			delete(detail, k)
		}
	}
	b, err := json.Marshal(detail)
	if err != nil {
		return err
	}
	e.Detail = b
	return r.events.Append(tx, e)
}

func (r *Registry) tellPush(tx *sqldb.Tx, repo *Repository, put *Put, tag string) error {
	kind, artifact := imageAction, put.ArtifactType
	if put.Subject != "" {
		kind = referrerAction
	}
	if artifact == "" {
		artifact = put.ConfigType
	}
	return r.tell(tx, repo, kind, map[string]string{"action-type": "PUSH", "image-digest": put.Digest, "image-tag": tag, "manifest-media-type": put.MediaType,
		"artifact-media-type": artifact})
}

func (r *Registry) tellDelete(tx *sqldb.Tx, repo *Repository, img *Image, gone []Deleted) error {
	kind := imageAction
	if img.Subject != "" {
		kind = referrerAction
	}
	for _, d := range gone {
		if err := r.tell(tx, repo, kind, map[string]string{"action-type": "DELETE", "image-digest": d.Digest, "image-tag": d.Tag,
			"manifest-media-type": img.MediaType}); err != nil {
			return err
		}
	}
	return nil
}
