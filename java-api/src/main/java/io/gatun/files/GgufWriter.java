package io.gatun.files;

import io.gatun.internal.Check;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** Writes GGUF files of version 3. Everything is checked before the file is begun. */
final class GgufWriter {
    private static final int VERSION = 3;
    private static final int LONGEST_KEY = 65535;
    private static final int LONGEST_NAME = 63;

    private GgufWriter() {}

    static void write(Path file, Map<String, GgufValue> metadata, Collection<GgufTensor> tensors) throws IOException {
        Check.present("metadata", metadata);
        Check.present("tensors", tensors);
        // Copies, so that what was checked is what is written.
        List<Map.Entry<String, GgufValue>> entries = new ArrayList<>();
        metadata.forEach((key, value) -> entries.add(checkEntry(key, value)));
        List<GgufTensor> checked = checkTensors(tensors);
        long alignment = alignment(entries);
        try (NewFile out = new NewFile(file)) {
            out.bytes(new byte[] {'G', 'G', 'U', 'F'});
            out.u32(VERSION);
            out.u64(checked.size());
            out.u64(entries.size());
            for (Map.Entry<String, GgufValue> entry : entries) {
                string(out, entry.getKey());
                out.u32(entry.getValue().type().id());
                out.segment(entry.getValue().encoded());
            }
            writeList(out, checked, alignment);
            out.pad(alignment);
            for (GgufTensor tensor : checked) {
                out.segment(tensor.data());
                out.pad(alignment);
            }
            out.complete();
        }
    }

    private static void writeList(NewFile out, List<GgufTensor> tensors, long alignment) throws IOException {
        long offset = 0;
        for (GgufTensor tensor : tensors) {
            string(out, tensor.name());
            out.u32(tensor.shape().rank());
            for (int axis = tensor.shape().rank() - 1; axis >= 0; axis--) {
                out.u64(tensor.shape().size(axis));
            }
            out.u32(tensor.type().id());
            out.u64(offset);
            offset = Gguf.align(Math.addExact(offset, tensor.data().byteSize()), alignment);
        }
    }

    private static void string(NewFile out, String text) throws IOException {
        byte[] utf8 = Text.encode("text", text);
        out.u64(utf8.length);
        out.bytes(utf8);
    }

    private static Map.Entry<String, GgufValue> checkEntry(String key, GgufValue value) {
        Check.present("metadata key", key);
        Check.present("metadata " + Text.quote(key), value);
        int bytes = Text.encode("metadata key", key).length;
        if (bytes < 1 || bytes > LONGEST_KEY) {
            throw Check.invalid("metadata key", bytes + " bytes", "1.." + LONGEST_KEY);
        }
        Check.reachable("metadata " + Text.quote(key), value.encoded());
        return Map.entry(key, value);
    }

    private static List<GgufTensor> checkTensors(Collection<GgufTensor> tensors) {
        List<GgufTensor> checked = new ArrayList<>(tensors);
        Set<String> names = new HashSet<>();
        for (int i = 0; i < checked.size(); i++) {
            String argument = "tensors[" + i + "]";
            GgufTensor tensor = checked.get(i);
            Check.present(argument, tensor);
            int bytes = Text.encode(argument + ".name", tensor.name()).length;
            if (bytes > LONGEST_NAME) {
                throw Check.invalid(
                        argument + ".name",
                        Text.quote(tensor.name()) + " of " + bytes + " bytes",
                        "0.." + LONGEST_NAME);
            }
            if (!names.add(tensor.name())) {
                throw Check.invalid(argument + ".name", Text.quote(tensor.name()), "each name once");
            }
            Check.reachable(argument + ".data", tensor.data());
        }
        return checked;
    }

    private static long alignment(List<Map.Entry<String, GgufValue>> entries) {
        long alignment = Gguf.DEFAULT_ALIGNMENT;
        for (Map.Entry<String, GgufValue> entry : entries) {
            if (entry.getKey().equals(Gguf.ALIGNMENT)) {
                GgufValue value = entry.getValue();
                if (value.type() != GgufValueType.UINT32 || !Gguf.isAlignment(value.asLong())) {
                    throw Check.invalid(
                            "metadata " + Text.quote(Gguf.ALIGNMENT),
                            value,
                            "a power of two from 8 on, of type UINT32");
                }
                alignment = value.asLong();
            }
        }
        return alignment;
    }
}
