{{/*
A value as CEL, for the admission policy. Takes [the path of its type, the value]. What has the names of fields is an object with a type of its
own, because CEL's maps and lists hold values of one type; other names ("ephemeral-storage") make a map.
*/}}
{{- define "dualstream.cel" -}}
{{- $type := index . 0 }}
{{- $value := index . 1 }}
{{- if kindIs "map" $value }}
{{- $isObject := true }}
{{- range $key, $item := $value }}
{{- $isObject = and $isObject (regexMatch "^[A-Za-z][A-Za-z0-9]*$" $key) }}
{{- end }}
{{- $fields := list }}
{{- range $key, $item := $value }}
{{- $name := ternary $key (toJson $key) $isObject }}
{{- $fields = append $fields (printf "%s: %s" $name (include "dualstream.cel" (list (printf "%s.%s" $type $key) $item))) }}
{{- end }}
{{- printf "%s{%s}" (ternary $type "" $isObject) (join ", " $fields) }}
{{- else if kindIs "slice" $value }}
{{- $items := list }}
{{- range $value }}
{{- $items = append $items (include "dualstream.cel" (list $type .)) }}
{{- end }}
{{- printf "[%s]" (join ", " $items) }}
{{- else if kindIs "string" $value }}
{{- /* JSON's \u003c and the like are CEL's, too. */}}
{{- toJson $value }}
{{- else if kindIs "bool" $value }}
{{- $value }}
{{- else }}
{{- int64 $value }}
{{- end }}
{{- end }}

{{/* Patches that append to a list of the pod, which may not be there yet. Takes [path below spec, CEL values]. */}}
{{- define "dualstream.celAppend" -}}
{{- $path := index . 0 }}
(has(object.spec.{{ $path }}) ? [] : [JSONPatch{op: "add", path: "/spec/{{ $path }}", value: []}])
{{- range index . 1 }}
+ [JSONPatch{op: "add", path: "/spec/{{ $path }}/-", value: {{ . }}}]
{{- end }}
{{- end }}

{{/* The same for every container of the application. CEL counts only over lists, so that there are at most 16. */}}
{{- define "dualstream.celAppendEach" -}}
{{- $field := index . 0 }}
{{- $each := "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15].filter(i, i < size(object.spec.containers))" -}}
{{ $each }}.filter(i, !has(object.spec.containers[i].{{ $field }}))
  .map(i, JSONPatch{op: "add", path: "/spec/containers/" + string(i) + "/{{ $field }}", value: []})
{{- range index . 1 }}
+ {{ $each }}.map(i, JSONPatch{op: "add", path: "/spec/containers/" + string(i) + "/{{ $field }}/-", value: {{ . }}})
{{- end }}
{{- end }}
