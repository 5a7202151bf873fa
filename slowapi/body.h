/* SPDX-License-Identifier: MIT */
/* Bodies that were chosen: a text or a file, templates over the request, and content codings.
 *
 *   body_choose   when the parameters are known
 *   body_make     when the request is there, its body too if body_choose wants it
 *   body_code     when the body of the answer is complete, whatever it is
 */
#ifndef SLOWAPI_BODY_H
#define SLOWAPI_BODY_H

#include "slowapi/reply.h"
#include "slowapi/request.h"

struct body_wants {
    bool body;   /* the request's own */
    bool number; /* the request's, among those that are counted together */
};

/* Takes the body over that `spec` chooses, if it does, and its type. `files` is the folder of
 * --files, or -1. 0, -EINVAL with a line that names the parameter, or -ENOMEM. */
NODISCARD int body_choose(struct reply *reply, const struct spec *spec, int files,
                          struct body_wants *ret, struct error *why);

/* Makes the chosen body the answer's, with its placeholders replaced. As body_choose. */
NODISCARD int body_make(struct reply *reply, const struct slow_request *request, struct error *why);

/* Codes the body as `spec` or the route says, or as the client asks for. As body_choose. */
NODISCARD int body_code(struct reply *reply, const struct spec *spec,
                        const struct slow_request *request, struct error *why);

/* Makes the key, which may be a template over a request whose body has not come; when `request` is
 * NULL it is only checked. As body_choose. */
NODISCARD int body_make_key(const struct spec *spec, const struct slow_request *request,
                            uint64_t *ret, struct error *why);

/* Whether what `spec` chooses can be had: what options and rules name is looked for at once. 0, or
 * -EINVAL with a reason. */
NODISCARD int body_check(const struct spec *spec, int files, struct error *why);

/* Opens the folder of --files: a descriptor, or -errno with a reason. */
NODISCARD int body_open_files(const char *path, struct error *why);

#endif
