package client

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"iter"
	"net/url"
	"strconv"
)

// ListOptions choose what List walks over. The zero value is the whole bucket.
type ListOptions struct {
	Prefix string // of the keys
	Start  string // first key, inclusive
	Values bool   // with values
	// Limit ends the walk after so many keys; 0: none.
	Limit int
	// PageSize is how many keys are fetched at a time, at most 1,000; 0: 1,000, and 100
	// with Values.
	PageSize int
}

// Item is one key of a listing.
type Item struct {
	Key         string
	ETag        ETag
	ContentType string // of the newest sibling
	Siblings    int    // values there are; 1 as a rule
	Data        []byte // with Values, where there is one value
	Values      []Sibling
}

// listMax bounds one page: 16 values at their hard cap as base64, and more of them
// only while they are small.
const listMax = 128 << 20

type pageJSON struct {
	Keys []struct {
		Key         *string       `json:"key"`
		Key64       string        `json:"key64"`
		ETag        string        `json:"etag"`
		Siblings    int           `json:"siblings"`
		ContentType string        `json:"content_type"`
		Value       []byte        `json:"value"`
		Values      []siblingJSON `json:"values"`
	} `json:"keys"`
	Cursor   string `json:"cursor"`
	Complete bool   `json:"complete"`
}

// List walks over the keys of a bucket in the order of their bytes, page by page,
// reading one replica of each partition: a key written a moment ago may be missing. An
// error ends it. If some partition could not be read, the last pair is ErrIncomplete:
// keys are missing.
//
//	for item, err := range b.List(ctx, client.ListOptions{Prefix: "user:"}) { ... }
func (b *Bucket) List(ctx context.Context, o ListOptions) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		left, cursor, complete := o.Limit, "", true
		for {
			page, f := b.page(ctx, &o, left, cursor)
			if f != nil {
				yield(Item{}, f)
				return
			}
			complete = complete && page.Complete
			for i := range page.Keys {
				item, err := page.item(i)
				if !yield(item, err) || err != nil {
					return
				}
			}
			left -= len(page.Keys)
			cursor = page.Cursor
			if cursor == "" || o.Limit > 0 && left <= 0 {
				break
			}
		}
		if !complete {
			yield(Item{}, ErrIncomplete)
		}
	}
}

func (b *Bucket) page(ctx context.Context, o *ListOptions, left int, cursor string) (*pageJSON, *Error) {
	size := o.PageSize
	if size <= 0 || size > chunkMax {
		size = chunkMax
		if o.Values {
			size = 100
		}
	}
	if o.Limit > 0 {
		size = min(size, left)
	}
	q := url.Values{"limit": {strconv.Itoa(size)}}
	set := func(name, v string) {
		if v != "" {
			q.Set(name, v)
		}
	}
	set("prefix", o.Prefix)
	set("start", o.Start)
	set("cursor", cursor)
	if o.Values {
		q.Set("values", "true")
	}
	var page *pageJSON
	k := &call{req: request{op: opMulti, bucket: b.name}}
	path := string(appendEscaped([]byte("/v1/kv/"), b.name)) + "?" + q.Encode()
	k.exchange = b.c.web.exchange(&webRequest{method: "GET", path: path, most: listMax}, func(body []byte) error {
		page = new(pageJSON)
		return json.Unmarshal(body, page)
	})
	if f := b.c.run(ctx, k); f != nil {
		return nil, f
	}
	return page, nil
}

func (p *pageJSON) item(i int) (Item, error) {
	row := &p.Keys[i]
	item := Item{ETag: ETag(row.ETag), ContentType: row.ContentType, Siblings: max(row.Siblings, 1), Data: row.Value}
	if row.Values != nil {
		item.Values = siblingList(row.Values)
	}
	if row.Key != nil {
		item.Key = *row.Key
		return item, nil
	}
	key, err := base64.RawURLEncoding.DecodeString(row.Key64)
	if err != nil || len(key) == 0 {
		return Item{}, badAnswer("a row of the listing has no key")
	}
	item.Key = string(key)
	return item, nil
}
