// Command create is a Lambda function in Go, as one would write it for AWS: it creates the
// repository that a push has missed.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"log"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
)

func main() {
	cfg, err := config.LoadDefaultConfig(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	client := ecr.NewFromConfig(cfg)
	lambda.Start(func(ctx context.Context, e events.CloudWatchEvent) error {
		var detail struct {
			RequestParameters struct {
				RepositoryName string `json:"repositoryName"`
			} `json:"requestParameters"`
		}
		if err := json.Unmarshal(e.Detail, &detail); err != nil {
			return err
		}
		name := detail.RequestParameters.RepositoryName
		_, err := client.CreateRepository(ctx, &ecr.CreateRepositoryInput{RepositoryName: &name, ImageTagMutability: types.ImageTagMutabilityImmutable})
		var exists *types.RepositoryAlreadyExistsException
		if errors.As(err, &exists) {
			return nil
		}
		if err == nil {
			log.Printf("created %s repository", name)
		}
		return err
	})
}
