// Prints src/apiserver/protobuf/wire-table.json: how Kubernetes' own types number their fields in protobuf.
//
// Source: the struct tags of k8s.io/api, k8s.io/apimachinery and k8s.io/apiextensions-apiserver (Apache-2.0), read by reflection.
//
//	cd packages/lab/scripts/gen-wire-table && go mod tidy && go run . > ../../src/apiserver/protobuf/wire-table.json
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"sort"
	"strings"

	admissionregistration "k8s.io/api/admissionregistration/v1"
	apps "k8s.io/api/apps/v1"
	authentication "k8s.io/api/authentication/v1"
	authorization "k8s.io/api/authorization/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscaling "k8s.io/api/autoscaling/v2"
	batch "k8s.io/api/batch/v1"
	coordination "k8s.io/api/coordination/v1"
	core "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	events "k8s.io/api/events/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	rbac "k8s.io/api/rbac/v1"
	scheduling "k8s.io/api/scheduling/v1"
	storage "k8s.io/api/storage/v1"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var roots = map[string][]any{
	"v1": {core.Pod{}, core.Service{}, core.Endpoints{}, core.ConfigMap{}, core.Secret{}, core.ServiceAccount{}, core.Namespace{},
		core.Node{}, core.Event{}, core.Binding{}},
	"apps/v1":                        {apps.Deployment{}, apps.ReplicaSet{}, apps.StatefulSet{}, apps.DaemonSet{}, apps.ControllerRevision{}},
	"batch/v1":                       {batch.Job{}, batch.CronJob{}},
	"autoscaling/v1":                 {autoscalingv1.Scale{}},
	"autoscaling/v2":                 {autoscaling.HorizontalPodAutoscaler{}},
	"policy/v1":                      {policy.PodDisruptionBudget{}, policy.Eviction{}},
	"coordination.k8s.io/v1":         {coordination.Lease{}},
	"discovery.k8s.io/v1":            {discovery.EndpointSlice{}},
	"events.k8s.io/v1":               {events.Event{}},
	"networking.k8s.io/v1":           {networking.NetworkPolicy{}, networking.Ingress{}, networking.IngressClass{}},
	"scheduling.k8s.io/v1":           {scheduling.PriorityClass{}},
	"storage.k8s.io/v1":              {storage.StorageClass{}},
	"rbac.authorization.k8s.io/v1":   {rbac.Role{}, rbac.ClusterRole{}, rbac.RoleBinding{}, rbac.ClusterRoleBinding{}},
	"authentication.k8s.io/v1":       {authentication.TokenReview{}, authentication.TokenRequest{}, authentication.SelfSubjectReview{}},
	"authorization.k8s.io/v1":        {authorization.SubjectAccessReview{}, authorization.LocalSubjectAccessReview{}, authorization.SelfSubjectAccessReview{}, authorization.SelfSubjectRulesReview{}},
	"apiextensions.k8s.io/v1":        {apiextensions.CustomResourceDefinition{}},
	"admissionregistration.k8s.io/v1": {admissionregistration.ValidatingWebhookConfiguration{}, admissionregistration.MutatingWebhookConfiguration{}},
	// Any group's clients send these.
	"": {meta.DeleteOptions{}, meta.Status{}},
}

// field is [number, JSON name, type, flags]; a JSON name of "" means the message's fields stand in the parent.
type field [4]any

var messages = map[string][]field{}

// Types whose JSON is not the object that their protobuf fields would make.
var special = map[string]bool{"Time": true, "MicroTime": true, "Duration": true, "IntOrString": true, "Quantity": true,
	"RawExtension": true, "FieldsV1": true, "JSON": true, "JSONSchemaPropsOrBool": true, "JSONSchemaPropsOrArray": true,
	"JSONSchemaPropsOrStringArray": true}

func nameOf(t reflect.Type) string {
	path := strings.TrimPrefix(t.PkgPath(), "k8s.io/")
	path = strings.ReplaceAll(strings.ReplaceAll(path, "apimachinery/pkg/", ""), "apiextensions-apiserver/pkg/apis/", "")
	return strings.ReplaceAll(strings.TrimPrefix(path, "api/"), "/", ".") + "." + t.Name()
}

func typeOf(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Pointer:
		return typeOf(t.Elem())
	case reflect.Bool:
		return "bool"
	case reflect.Int32, reflect.Int64, reflect.Int, reflect.Uint32, reflect.Uint8:
		return "int"
	case reflect.Float64:
		return "double"
	case reflect.String:
		return "string"
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return "bytes"
		}
		if t.PkgPath() != "" && t.Elem().Kind() == reflect.String {
			return "[]wrapped"
		}
		return "[]" + typeOf(t.Elem())
	case reflect.Map:
		return "map:" + typeOf(t.Elem())
	case reflect.Struct:
		if special[t.Name()] {
			if strings.HasPrefix(t.Name(), "JSONSchemaPropsOr") {
				visit(reflect.TypeOf(apiextensions.JSONSchemaProps{}))
			}
			return "!" + t.Name()
		}
		visit(t)
		return nameOf(t)
	}
	panic(fmt.Sprint("no wire type for ", t))
}

func visit(t reflect.Type) {
	name := nameOf(t)
	if _, seen := messages[name]; seen {
		return
	}
	messages[name] = []field{}
	fields := []field{}
	for i := 0; i < t.NumField(); i++ {
		f := t.Field(i)
		tag := f.Tag.Get("protobuf")
		if tag == "" || tag == "-" {
			continue
		}
		var number int
		fmt.Sscan(strings.Split(tag, ",")[1], &number)
		jsonTag := strings.Split(f.Tag.Get("json"), ",")
		jsonName := jsonTag[0]
		flags := ""
		if f.Type.Kind() == reflect.Pointer {
			flags += "p"
		}
		for _, option := range jsonTag[1:] {
			if option == "omitempty" {
				flags += "o"
			}
		}
		fields = append(fields, field{number, jsonName, typeOf(f.Type), flags})
	}
	messages[name] = fields
}

func main() {
	kinds := map[string]string{}
	for apiVersion, types := range roots {
		for _, value := range types {
			t := reflect.TypeOf(value)
			visit(t)
			kinds[strings.TrimPrefix(apiVersion+" "+t.Name(), " ")] = nameOf(t)
		}
	}
	out := os.Stdout
	names := []string{}
	for name := range messages {
		names = append(names, name)
	}
	sort.Strings(names)
	encode := func(v any) string { b, err := json.Marshal(v); if err != nil { panic(err) }; return string(b) }
	fmt.Fprintf(out, "{\"kinds\":%s,\n\"messages\":{\n", encode(kinds))
	for i, name := range names {
		comma := ","
		if i == len(names)-1 {
			comma = ""
		}
		fmt.Fprintf(out, "%s:%s%s\n", encode(name), encode(messages[name]), comma)
	}
	fmt.Fprint(out, "}}\n")
}
