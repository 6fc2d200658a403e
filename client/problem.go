package client

import (
	"cmp"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"
)

func msDuration(ms int64) time.Duration { return time.Duration(max(ms, 0)) * time.Millisecond }

// problemJSON is an error body, as the contract has it.
type problemJSON struct {
	Status       int    `json:"status"`
	Detail       string `json:"detail"`
	Instance     string `json:"instance"`
	Code         string `json:"code"`
	Outcome      string `json:"outcome"`
	Retryable    bool   `json:"retryable"`
	RetryAfterMS int64  `json:"retry_after_ms"`
	Quorum       *struct {
		N         int `json:"n"`
		Need      int `json:"need"`
		Acks      int `json:"acks"`
		Owners    int `json:"owners"`
		Fallbacks int `json:"fallbacks"`
		Failed    []struct {
			Node   string `json:"node"`
			Reason string `json:"reason"`
		} `json:"failed"`
	} `json:"quorum"`
	RingVersion uint64   `json:"ring_version"`
	Epoch       uint64   `json:"epoch"`
	Partition   uint32   `json:"partition"`
	Owners      []string `json:"owners"`
	ETag        string   `json:"etag"`
}

// detailMax bounds what of a text that is no problem document is shown.
const detailMax = 200

// parseProblem makes an error of a status and a body, whatever the body is.
func parseProblem(status int, body []byte) *Error {
	var p problemJSON
	if len(body) == 0 || json.Unmarshal(body, &p) != nil || p.Code == "" {
		f := faultOf(status)
		f.Detail = "the answer has no problem document"
		if len(body) == 0 {
			f.Detail = ""
		}
		return f
	}
	return p.fault(status)
}

func (p *problemJSON) fault(status int) *Error {
	f := &Error{Status: status, Code: p.Code, Outcome: parseOutcome(p.Outcome), Retryable: p.Retryable, RetryAfter: msDuration(p.RetryAfterMS),
		Detail: p.Detail, Ring: p.RingVersion, Epoch: p.Epoch, Partition: p.Partition, Owners: p.Owners, ETag: ETag(p.ETag),
		RequestID: strings.TrimPrefix(p.Instance, "urn:quorate:request:")}
	if len(f.Detail) > detailMax {
		f.Detail = f.Detail[:detailMax]
	}
	if q := p.Quorum; q != nil {
		f.Quorum = &QuorumReport{N: q.N, Need: q.Need, Acks: q.Acks, Owners: q.Owners, Fallbacks: q.Fallbacks}
		for _, x := range q.Failed {
			f.Quorum.Failed = append(f.Quorum.Failed, Failure{x.Node, x.Reason})
		}
	}
	return f
}

type siblingJSON struct {
	ETag        string `json:"etag"`
	ContentType string `json:"content_type"`
	Value       []byte `json:"value"`
	HLC         string `json:"hlc"`
}

// parseSiblings reads the body of a 300.
func (p *response) parseSiblings(body []byte) error {
	var s struct {
		Siblings []siblingJSON `json:"siblings"`
		Context  Context       `json:"context"`
	}
	if err := json.Unmarshal(body, &s); err != nil {
		return badAnswer("its siblings are not the JSON they should be: %v", err)
	}
	if len(s.Siblings) < 2 {
		return badAnswer("it has %d siblings where there should be two or more", len(s.Siblings))
	}
	p.siblings, p.count, p.contentType = siblingList(s.Siblings), len(s.Siblings), ""
	if s.Context != "" {
		p.context = s.Context
	}
	return nil
}

func siblingList(from []siblingJSON) []Sibling {
	out := make([]Sibling, len(from))
	for i, s := range from {
		stamp, _ := strconv.ParseUint(s.HLC, 10, 64) // 0, the oldest, if it is none
		out[i] = Sibling{Data: s.Value, ContentType: s.ContentType, ETag: ETag(s.ETag), Stamp: stamp}
		if out[i].Data == nil {
			out[i].Data = []byte{}
		}
	}
	slices.SortStableFunc(out, func(a, b Sibling) int { return cmp.Compare(b.Stamp, a.Stamp) })
	return out
}
