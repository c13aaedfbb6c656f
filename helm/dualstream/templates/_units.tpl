{{/*
Sizes and times. Numbers travel as decimal text: that is all that a named template can return.
*/}}

{{/* Bytes of a size as the relay's configuration has it: 1073741824, "512MiB", "512MB". Takes [what it is called, the size]. */}}
{{- define "dualstream.bytes" -}}
{{- $name := index . 0 }}
{{- $given := index . 1 }}
{{- if or (kindIs "int64" $given) (kindIs "float64" $given) (kindIs "int" $given) }}
{{- int64 $given }}
{{- else }}
{{- $text := trim $given }}
{{- if not (regexMatch "^[0-9]+ ?(B|KB|MB|GB|TB|KiB|MiB|GiB|TiB)?$" $text) }}
{{- fail (printf "%s is %q, which the chart cannot read as a size; write a whole number with B, KiB, MiB, GiB, TiB, KB, MB, GB or TB" $name $text) }}
{{- end }}
{{- $units := dict "" 1 "B" 1 "KB" 1000 "MB" 1000000 "GB" 1000000000 "TB" 1000000000000 "KiB" 1024 "MiB" 1048576 "GiB" 1073741824 "TiB" 1099511627776 }}
{{- mul (int64 (regexFind "^[0-9]+" $text)) (int64 (get $units (regexFind "[A-Za-z]*$" $text))) }}
{{- end }}
{{- end }}

{{/* Bytes of a Kubernetes quantity: "2Gi", "500M", 1048576. Takes [what it is called, the quantity]. */}}
{{- define "dualstream.quantityBytes" -}}
{{- $name := index . 0 }}
{{- $given := index . 1 }}
{{- if or (kindIs "int64" $given) (kindIs "float64" $given) (kindIs "int" $given) }}
{{- int64 $given }}
{{- else }}
{{- if not (regexMatch "^[0-9]+(k|M|G|T|Ki|Mi|Gi|Ti)?$" $given) }}
{{- fail (printf "%s is %q, which the chart cannot read as a quantity; write a whole number with Ki, Mi, Gi, Ti, k, M, G or T" $name $given) }}
{{- end }}
{{- $units := dict "" 1 "k" 1000 "M" 1000000 "G" 1000000000 "T" 1000000000000 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 }}
{{- mul (int64 (regexFind "^[0-9]+" $given)) (int64 (get $units (regexFind "[A-Za-z]*$" $given))) }}
{{- end }}
{{- end }}

{{/* Whole seconds, rounded up, of a time as the relay's configuration has it: "25s", "1m 30s". Takes [what it is called, the time]. */}}
{{- define "dualstream.seconds" -}}
{{- $name := index . 0 }}
{{- $text := trim (toString (index . 1)) }}
{{- if not (regexMatch "^(0|([0-9]+(ms|s|m|h) ?)+)$" $text) }}
{{- fail (printf "%s is %q, which the chart cannot read as a time; write whole numbers with ms, s, m or h, such as 25s" $name $text) }}
{{- end }}
{{- $units := dict "" 0 "ms" 1 "s" 1000 "m" 60000 "h" 3600000 }}
{{- $total := 0 }}
{{- range regexFindAll "[0-9]+(ms|s|m|h)" $text -1 }}
{{- $total = add $total (mul (int64 (regexFind "^[0-9]+" .)) (get $units (regexFind "[a-z]+$" .))) }}
{{- end }}
{{- div (add $total 999) 1000 }}
{{- end }}
