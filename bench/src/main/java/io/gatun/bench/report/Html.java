package io.gatun.bench.report;

/** Builds a document of well-formed elements; text and attributes are escaped. */
final class Html {
    private final StringBuilder out = new StringBuilder();

    /**
     * An element around what the content adds.
     *
     * @param attributes names and values in turn
     */
    Html element(String name, Runnable content, String... attributes) {
        start(name, attributes).append('>');
        content.run();
        out.append("</").append(name).append(">\n");
        return this;
    }

    /** An element around text. */
    Html element(String name, String text, String... attributes) {
        start(name, attributes).append('>').append(escape(text));
        out.append("</").append(name).append(">\n");
        return this;
    }

    /** An element without content. */
    Html empty(String name, String... attributes) {
        start(name, attributes).append("/>\n");
        return this;
    }

    /** What is markup already. */
    Html markup(String markup) {
        out.append(markup);
        return this;
    }

    private StringBuilder start(String name, String... attributes) {
        out.append('<').append(name);
        for (int i = 0; i < attributes.length; i += 2) {
            out.append(' ')
                    .append(attributes[i])
                    .append("=\"")
                    .append(escape(attributes[i + 1]))
                    .append('"');
        }
        return out;
    }

    /** Text for an element or an attribute. Control characters, which no document may hold, become a replacement. */
    static String escape(String text) {
        StringBuilder escaped = new StringBuilder();
        text.codePoints().forEach(c -> {
            switch (c) {
                case '&' -> escaped.append("&amp;");
                case '<' -> escaped.append("&lt;");
                case '>' -> escaped.append("&gt;");
                case '"' -> escaped.append("&quot;");
                case '\'' -> escaped.append("&#39;");
                case '\n', '\t' -> escaped.appendCodePoint(c);
                default ->
                    escaped.appendCodePoint(
                            c < ' ' || c >= 0xd800 && c < 0xe000 || (c & 0xfffe) == 0xfffe ? 0xfffd : c);
            }
        });
        return escaped.toString();
    }

    @Override
    public String toString() {
        return out.toString();
    }
}
