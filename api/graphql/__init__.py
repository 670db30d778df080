"""GraphQL: one module per aggregate, composed in `schema`. The promised contract is the exported schema.graphql."""
