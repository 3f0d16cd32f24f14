package io.gatun.files;

import io.gatun.internal.Check;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.Comparator;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** Writes safetensors files. Everything is checked before the file is begun. */
final class SafetensorsWriter {
    private static final int ALIGNMENT = 8;

    private SafetensorsWriter() {}

    static void write(Path file, Map<String, String> metadata, Collection<SafetensorsTensor> tensors)
            throws IOException {
        Check.present("metadata", metadata);
        Check.present("tensors", tensors);
        List<SafetensorsTensor> ordered = checkTensors(tensors);
        ordered.sort(Comparator.comparing(SafetensorsTensor::type)
                .reversed()
                .thenComparing(tensor -> utf8(tensor.name()), Arrays::compareUnsigned));
        byte[] header = utf8(header(metadata, ordered));
        int padding = -header.length & ALIGNMENT - 1;
        if (header.length + padding > Safetensors.MAX_HEADER) {
            throw Check.invalid(
                    "tensors", "a header of " + header.length + " bytes", "at most " + Safetensors.MAX_HEADER);
        }
        try (NewFile out = new NewFile(file)) {
            out.u64(header.length + padding);
            out.bytes(header);
            out.bytes(" ".repeat(padding).getBytes(StandardCharsets.US_ASCII));
            for (SafetensorsTensor tensor : ordered) {
                out.segment(tensor.data());
            }
            out.complete();
        }
    }

    private static List<SafetensorsTensor> checkTensors(Collection<SafetensorsTensor> tensors) {
        List<SafetensorsTensor> checked = new ArrayList<>(tensors);
        Set<String> names = new HashSet<>();
        for (int i = 0; i < checked.size(); i++) {
            String argument = "tensors[" + i + "]";
            SafetensorsTensor tensor = checked.get(i);
            Check.present(argument, tensor);
            Text.encode(argument + ".name", tensor.name());
            if (!names.add(tensor.name()) || tensor.name().equals(Safetensors.METADATA)) {
                throw Check.invalid(
                        argument + ".name", Text.quote(tensor.name()), "each name once, none " + Safetensors.METADATA);
            }
            Check.reachable(argument + ".data", tensor.data());
        }
        return checked;
    }

    private static byte[] utf8(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    private static String header(Map<String, String> metadata, List<SafetensorsTensor> tensors) {
        StringBuilder json = new StringBuilder("{");
        if (!metadata.isEmpty()) {
            quote(json, Safetensors.METADATA).append(":{");
            metadata.forEach((name, text) -> {
                Text.encode("metadata name", name);
                Text.encode("metadata " + Text.quote(name), text);
                quote(quote(separate(json), name).append(':'), text);
            });
            json.append('}');
        }
        long begin = 0;
        for (SafetensorsTensor tensor : tensors) {
            long end = begin + tensor.data().byteSize();
            quote(separate(json), tensor.name())
                    .append(":{\"dtype\":\"")
                    .append(tensor.type())
                    .append("\",\"shape\":")
                    .append(tensor.shape().toString().replace(" ", ""))
                    .append(",\"data_offsets\":[")
                    .append(begin)
                    .append(',')
                    .append(end)
                    .append("]}");
            begin = end;
        }
        return json.append('}').toString();
    }

    /** A comma, unless this is the first member. */
    private static StringBuilder separate(StringBuilder json) {
        return json.charAt(json.length() - 1) == '{' ? json : json.append(',');
    }

    private static StringBuilder quote(StringBuilder json, String text) {
        json.append('"');
        for (int i = 0; i < text.length(); i++) {
            char c = text.charAt(i);
            int escape = "\"\\\b\f\n\r\t".indexOf(c);
            if (escape >= 0) {
                json.append('\\').append("\"\\bfnrt".charAt(escape));
            } else if (c < ' ') {
                json.append(String.format("\\u%04x", (int) c));
            } else {
                json.append(c);
            }
        }
        return json.append('"');
    }
}
