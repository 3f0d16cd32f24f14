package io.gatun.spark;

import java.util.Map;
import java.util.Objects;
import java.util.concurrent.ConcurrentHashMap;

/** The models of this executor, each loaded by the first task that asks for it. */
final class Models {
    /** With the classes of their sources, so that they go when a class loader goes; of each, models by their names. */
    private static final ClassValue<Map<String, TextEmbedder>> LOADED = new ClassValue<>() {
        @Override
        protected Map<String, TextEmbedder> computeValue(Class<?> source) {
            return new ConcurrentHashMap<>();
        }
    };

    private Models() {}

    static TextEmbedder get(TextEmbedder.Source source, String name) throws Exception {
        Map<String, TextEmbedder> models = LOADED.get(source.getClass());
        TextEmbedder loaded = models.get(name);
        if (loaded != null) {
            return loaded;
        }
        synchronized (models) {
            loaded = models.get(name);
            if (loaded == null) {
                loaded = Objects.requireNonNull(source.open(), "the source opened null");
                models.put(name, loaded);
            }
            return loaded;
        }
    }
}
