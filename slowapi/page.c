/* SPDX-License-Identifier: MIT */
/* The pages and images that always answer the same: small, and our own. */
#include "slowapi/page.h"
#include "base/base64.h"

#define HTML "text/html; charset=utf-8"

/* A clock, 32 by 32, in base64. */
#define CLOCK_PNG                                                                              \
    "iVBORw0KGgoAAAANSUhEUgAAACAAAAAgAQMAAABJtOi3AAAABlBMVEX///8lY+sSTFThAAAAX0lEQVR42mXOsQ2A" \
    "MAwEwJcoKD1CRsloXo2ONWCDlEFK/NiGAokvrnu/gYw0R80hgYXcsJIHhGwQ04Zi2lFNxwc1r/yoDiXYg9NQeXmD" \
    "M+BAIft7OcihnMzx5418yHMDP2VO9ZSj2tcAAAAASUVORK5CYII="

#define CLOCK_JPEG                                                                             \
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDABsSFBcUERsXFhceHBsgKEIrKCUlKFE6PTBCYFVlZF9VXVtqeJmBanGQ" \
    "c1tdhbWGkJ6jq62rZ4C8ybqmx5moq6T/2wBDARweHigjKE4rK06kbl1upKSkpKSkpKSkpKSkpKSkpKSkpKSkpKSk" \
    "pKSkpKSkpKSkpKSkpKSkpKSkpKSkpKSkpKT/wAARCAAgACADASIAAhEBAxEB/8QAGgAAAQUBAAAAAAAAAAAAAAAA" \
    "BQABAgQGA//EACgQAAEDAwMDBAMBAAAAAAAAAAECAwQABSEREkETMWEiI0KhMjRScv/EABcBAQEBAQAAAAAAAAAA" \
    "AAAAAAABAwT/xAAaEQACAwEBAAAAAAAAAAAAAAABAgADERJB/9oADAMBAAIRAxEAPwDQSZDcZouOHHA5JoO5dpTz" \
    "m1hITr2AG4mmvbqlzOnr6WwNB5Oar2799n/VdldShOiNmDMScEst3aUy5tfSFadwRtIoxGkNyWg42ccjkGs/cgRP" \
    "e1/qu9kdUiZ09fSsHUeRmllSlOhCsQcMV7ZKJfU+Lg7+RiqCFKQoKQSFDIIrUyY7clotuDHB5BoK9Z5KFe3tcTxn" \
    "Q/dWq1eeWh0O6JF6emTFKH2gp4fisYqVkZK5fU+LY7+TSZs8lavc2tp5zqfqjUaO3GaDbYxyeSalliKpVfZVUk6Z" \
    "/9k="

#define CLOCK_WEBP                                                                             \
    "UklGRiQBAABXRUJQVlA4IBgBAABwBwCdASogACAAPxF6tVOsJ6SiqAqpgCIJbACdMoR5n7Nch2vgym2ruxr0AAit" \
    "uB5OniVz9J1103Oqzh5Sztsfhw1bqAD++qjtoLgu3NyISXdUbXKB0dmAErJm70ODe+FrzlCACAYb9RGAaiv8BKPb" \
    "GGtEG7/qCoHeIQv6Hvx/J3s0Iqe3RmiDzaDUFwRQxvFaaA8gj+iRBLByTrF2Y21Jv1S/KkWwOEW+1DPfHQpu/ggs" \
    "x0PuMBDm3lG6Q3YALMJDisvXXCuaprAPzVy/ZMhEHfE1tyed5Vu3aR+yeaceq+2IuPvyLgMGCv+RBwdF2/sIMDGi" \
    "qemLdOo2rFZcVwILIF/V384LCAKv9ls3U6CC6Qi4Y5NfYAAA"

#define CLOCK_SVG                                                           \
    "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"32\" height=\"32\">" \
    "<circle cx=\"16\" cy=\"16\" r=\"14\" fill=\"#2563eb\"/>"               \
    "<path d=\"M16 7v9l6 4\" fill=\"none\" stroke=\"#fff\" stroke-width=\"3\"/></svg>"

static const struct page pages[] = {
    { SLICE_INIT("/html"), HTML,
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head><title>A slow page</title></head>\n<body>\n"
      "<h1>A slow page</h1>\n<p>Whoever waits for this paragraph has waited long enough.</p>\n"
      "</body>\n</html>\n" },
    { SLICE_INIT("/xml"), "application/xml",
      "<?xml version=\"1.0\" encoding=\"us-ascii\"?>\n<slideshow title=\"How to wait\" "
      "author=\"slowapi\">\n  <slide type=\"all\">\n    <title>First, set a deadline</title>\n"
      "  </slide>\n  <slide type=\"all\">\n    <title>Then keep to it</title>\n"
      "    <item>retry with a pause</item>\n    <item>give up in time</item>\n  </slide>\n"
      "</slideshow>\n" },
    { SLICE_INIT("/json"), "application/json",
      "{\n  \"slideshow\": {\n    \"author\": \"slowapi\",\n    \"date\": \"today\",\n"
      "    \"slides\": [\n      {\"title\": \"First, set a deadline\", \"type\": \"all\"},\n"
      "      {\"title\": \"Then keep to it\", \"type\": \"all\",\n"
      "       \"items\": [\"retry with a pause\", \"give up in time\"]}\n    ],\n"
      "    \"title\": \"How to wait\"\n  }\n}\n" },
    { SLICE_INIT("/robots.txt"), "text/plain", "User-agent: *\nDisallow: /deny\n" },
    { SLICE_INIT("/deny"), "text/plain", "Robots are asked not to come here.\n" },
    { SLICE_INIT("/encoding/utf8"), HTML,
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>UTF-8</title>"
      "</head>\n<body>\n<p>\u00e4\u00f6\u00fc \u00df \u00e9\u00e8 \u00f1 \u00bf \u20ac</p>\n"
      "<p>\u03b1\u03b2\u03b3 \u0430\u0431\u0432 \u05d0\u05d1\u05d2 \u0e01\u0e02\u0e03</p>\n"
      "<p>\u4f60\u597d \u3053\u3093\u306b\u3061\u306f \uc548\ub155</p>\n"
      "<p>\u2200x\u2208\u2115 \u222b \u2260 \u2026 \U0001f422</p>\n</body>\n</html>\n" },
    { SLICE_INIT("/forms/post"), HTML,
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head><title>A form</title></head>\n<body>\n"
      "<form method=\"post\" action=\"/post\">\n"
      "<p><label>Name: <input name=\"custname\"></label></p>\n"
      "<p><label>Telephone: <input type=\"tel\" name=\"custtel\"></label></p>\n"
      "<p><label>E-mail: <input type=\"email\" name=\"custemail\"></label></p>\n"
      "<p>Size: <label><input type=\"radio\" name=\"size\" value=\"small\"> small</label>\n"
      "<label><input type=\"radio\" name=\"size\" value=\"large\"> large</label></p>\n"
      "<p><label>Comments: <textarea name=\"comments\"></textarea></label></p>\n"
      "<p><button>Send</button></p>\n</form>\n</body>\n</html>\n" },
    { SLICE_INIT("/image/png"), "image/png", CLOCK_PNG, .is_base64 = true },
    { SLICE_INIT("/image/jpeg"), "image/jpeg", CLOCK_JPEG, .is_base64 = true },
    { SLICE_INIT("/image/webp"), "image/webp", CLOCK_WEBP, .is_base64 = true },
    { SLICE_INIT("/image/svg"), "image/svg+xml", CLOCK_SVG },
};

const struct page *page_find(struct slice path) {
    for (size_t i = 0; i < ARRAY_LEN(pages); i++)
        if (slice_eq(pages[i].path, path))
            return &pages[i];
    return NULL;
}

char *page_text(const struct page *page, size_t *ret_size) {
    char *text = slice_dup(slice_str(page->text));

    *ret_size = strlen(page->text);
    if (text != NULL && page->is_base64)
        *ret_size = (size_t)base64_decode(slice_str(page->text), text);
    return text;
}
