"""Every code that Countersign answers with: of refused requests, failed jobs, unscorable rows and left-out entries.

Each has its cause and its cure in a sentence; ``/problems`` shows them, and the ``type`` of a problem document leads
there. A code never changes its meaning; one that is no longer used stays listed.
"""

from __future__ import annotations

from typing import NamedTuple


class Kind(NamedTuple):
    """Why it happens, and what to do."""

    cause: str
    cure: str


_TABLE = """
archive_bomb | An entry would grow far more than images do when unpacked. | Pack the images anew; the limit is the server's COUNTERSIGN_MAX_RATIO.
archive_encrypted | The archive has a password. | Send it without one.
archive_method_unknown | The archive is packed by a rare method. | Pack it with stored or deflate.
archive_not_zip | The upload is no ZIP archive. | Send a ZIP.
archive_too_many_entries | The archive has more entries than the server takes. | Part it into several jobs.
archive_truncated | The archive ends too early, or is damaged. | Send it again; compare its digest with the one you have.
bad_gateway | A server in front of Countersign got no answer. | Try again in a minute.
bad_request | The request cannot be read. | See the detail; check how your program writes it.
between_bands | The evidence is too weak for accept and for reject. | Have somebody look at both images.
blob_missing | A stored file is gone from the server's storage. | Send the upload again; tell the operator.
box_outside | The box lies outside the page. | Check x, y, w and h; they are pixels of that page.
calibration_impossible | Too few writers are left to calibrate the answers. | Add writers, or train with calibration_share=0.
channels_unfit | No network looks at so many channels. | Use 1 (grey) or 3 (colours).
checkpoint_damaged | What a training had kept is damaged. | Start the training again.
comparison_unknown | The job has no comparison of this number. | Take ordinals from the job's results.
conflict | The thing is not in a state that allows this. | Look at it again, then decide.
crashed | The work ended its worker again and again. | Look at the images named; the server's log may say why.
database_unavailable | The database is away, or was busy for too long. | Try again in a minute; tell the operator if it stays so.
digest_invalid | A digest is not written as this API writes them. | Write sha256: and 64 hexadecimal digits.
digest_mismatch | The bytes that arrived are not those of the Content-Digest. | Send them again; they changed on the way.
digest_missing | An upload by PUT must say its digest. | Send the header Content-Digest: sha-256=:BASE64:.
entry_damaged | An entry of the archive does not unpack to what its checksum says. | Pack the archive again.
entry_method_unknown | An entry is packed by a rare method. | Pack it with stored or deflate.
entry_name_unsafe | An entry's name is absolute or climbs out of the archive. | Name files inside the archive.
entry_too_large | An entry is larger than the server takes. | Make it smaller, or send it in parts.
evaluation_unknown | There is no evaluation of this id. | Take ids from the list of evaluations.
event_sending | The event is being sent at this moment. | Look at it again in a minute.
event_unknown | The webhook has no event of this id. | Take ids from its log; entries are kept for 30 days.
field_invalid | A field has a value that cannot be used, or is not known. | Each is named under errors with what it takes.
file_missing | The request lacks a file that this kind of job needs. | Send what the detail names.
file_unknown | No file of this name or digest is known. | Take names from the job's files; send the file first.
forbidden | This may not be done. | See the detail.
form_stale | The form is too old, or from another browser. | Reload the page and send it again.
http_error | The server's answer was not one of Countersign's. | Check the address, and what stands in between.
id_missing | A row has no id. | Give each row an id of its own.
id_repeated | A row's id is used by an earlier row. | Give each row an id of its own.
id_too_long | A row's id is too long. | Use at most 255 characters.
idempotency_in_flight | The same request is being answered at the moment. | Send it again in a moment; you will get its answer.
idempotency_key_invalid | The Idempotency-Key is empty, too long or no plain text. | Use 1 to 255 printable ASCII characters.
idempotency_key_reused | The Idempotency-Key was sent with another request. | Take a new key for each new request.
identical | The questioned image is pixel for pixel a reference. | Look whether it is a copy: nobody signs twice alike.
image_blank | There is no ink in the image. | Check page and box, and the scan.
image_missing | The archive lacks an image that is named. | Add it, or correct the name.
image_name_too_long | The name of an image is too long. | Use at most 600 characters.
image_too_large | The image has more pixels than the server takes. | Reduce it, or cut it out with a box.
image_too_small | The image is too small to tell anything. | Scan with at least 150 dpi.
image_truncated | The image file ends too early. | Send it again, whole.
image_twice | The image is in the archive already. | Nothing needs to be done; it counts once.
image_unreadable | The file is no image, or of a kind that is not read. | Use PNG, JPEG, TIFF, BMP, WebP or PDF.
internal_error | Something went wrong on our side; it is in the server's log. | Try again; tell the operator if it stays.
internal_server_error | Something went wrong on our side; it is in the server's log. | Try again; tell the operator if it stays.
job_ended | The job has ended, there is nothing to cancel or to end early. | Read its results.
job_not_finishable | Only a training can be ended with the best so far. | Cancel the job: what is done is kept.
job_not_repeatable | The form is for another kind of job, or the job has no file to use again. | Follow the link on the page of the job.
job_not_retryable | Only a failed or cancelled job can be retried. | Submit it again where you want it done twice.
job_unknown | There is no job of this id. | Use the id of the answer to the submission.
key_missing | The request carries no API key. | Send Authorization: Bearer KEY.
key_unknown | The API key is not known, or was revoked. | Make a new one on your account page.
kind_unknown | There is no such kind of job. | Use verify, identify, train, evaluate or tune.
label_contradicts | Two labels of the same image contradict each other. | Correct one of them.
layout_unknown | The archive's layout is none that is known. | Use folders WRITER/genuine and WRITER/forged, or pairs.csv.
leak | The images were used to make this model. | Evaluate on writers that it never saw.
login_wrong | Name and password do not belong together. | Try again.
loss_not_finite | The loss of the training grew beyond all numbers. | Lower the learning rate.
loss_other_network | The loss does not fit the network. | Use auto, or what the detail names.
channels_of_ink | The preset signature looks at grey ink. | Use 1 channel, or the preset photo.
manifest_columns | manifest.csv lacks a column, or has one twice. | Its first line must name id,questioned,reference once.
manifest_empty | manifest.csv has no rows. | Add one row for each comparison.
manifest_missing | The archive has no manifest.csv. | Add one with the columns id,questioned,reference.
manifest_unreadable | manifest.csv cannot be read as text. | Save it as CSV in UTF-8.
method_not_allowed | This address does not know this method. | See the description at /api/v1/docs.
misplaced | The entry lies in neither categories/ nor test/. | Move it.
model_ambiguous | Several models begin with this digest. | Give more of its digits.
model_damaged | The model's file cannot be read. | Train it again, or have it restored from a backup.
model_deleted | The model was deleted before the job was done. | Submit it again with another model.
model_archived | The model is archived: no new job may use it. | Take it out of the archive, or choose another model.
model_file_foreign | The file is safetensors, but no model that this version of Countersign wrote. | Send one that was downloaded from a model's page.
model_file_invalid | The file is no safetensors file, or is cut off or damaged. | Send it again, whole.
model_is_default | The default model cannot be archived. | Make another model the default first.
model_known | This very file is registered already. | Use the model that the detail names.
model_none | There is no default model. | Train one, or name a model.
model_other_network | The model to begin with is of another network. | Choose its network.
model_unknown | There is no such model. | Take names from /api/v1/models.
name_too_long | The name of an entry is too long. | Shorten it.
network_unknown | There is no such network. | Use one of the catalogue.
no_categories | The archive has no usable categories. | Lay images in categories/NAME/.
no_category | The entry lies in no category's folder. | Lay it in categories/NAME/.
no_forged_pairs | There is nothing to compare genuine signatures with. | Add forgeries, or a second writer.
no_genuine_pairs | No writer has two genuine signatures. | Add genuine signatures.
no_images | The archive has no usable image. | See what was left out and why.
no_test_images | The archive has no test images. | Lay them in test/.
not_acceptable | None of the forms asked for can be given. | Ask for application/json.
not_an_image | The entry is no image. | Nothing needs to be done; it is left out.
not_found | There is nothing at this address. | See the description at /api/v1/docs.
nothing_to_keep | The training has no epoch done, so there are no weights to keep. | Wait for the first epoch, or cancel.
not_scored | The comparison has no answer yet. | Decide when its answer is there.
page_missing | The file has no such page. | Pages count from 1.
parameter_invalid | A parameter of the address has a value that cannot be used, or is not known. | See errors.
password_same | The new password is the old one. | Choose another.
password_short | The password is too short. | Use at least 10 characters.
path_unknown | There is nothing at this address. | See the description at /api/v1/docs.
preset_of_ink | The network looks at ink, the preset does not. | Use the preset signature, or another network.
pretrained_other_network | Weights of torchvision fit resnets only. | Leave the file out, or choose a resnet.
pretrained_twice | Weights are to come from a model and from a file. | Name one of them.
protocol_unfit | The protocol is for signatures. | Use grey-ink for other pictures.
queue_unavailable | The queue is away, so nothing was accepted. | Try again in a minute.
questioned_box_invalid | The box of a row cannot be read. | Write x y w h in pixels.
questioned_missing | A row names no questioned image. | Name one.
questioned_page_invalid | The page of a row cannot be read. | Pages count from 1.
questioned_too_long | The name of a row's image is too long. | Use at most 600 characters.
questioned_too_many | A row names several questioned images. | Write a row for each.
rate_limited | This person sent more requests in a minute than the server takes. | Wait for the seconds of Retry-After.
reference_box_invalid | The boxes of a row cannot be read, or are not as many as its references. | Write x y w h, parted by a bar.
reference_missing | No reference was sent or named. | Send at least one.
reference_page_invalid | The pages of a row cannot be read, or are not as many as its references. | Pages count from 1.
reference_too_long | The name of a row's reference is too long. | Use at most 600 characters.
reference_too_many | There are more references than the server compares. | Send at most 64.
references_unusable | Some references could not be used; the others were. | See the message for which and why.
request_entity_too_large | The request is larger than this server allows. | Send less.
request_timeout | The request did not arrive in time. | Send it again.
review_reason | Overruling needs a reason, of at most 1,000 characters. | Say in a sentence or two why you overrule the model.
review_verdict | A decision is to accept or to reject; unscorable can only be agreed with. | Choose accept or reject.
row_invalid | A row holds characters that cannot be stored. | Remove NUL characters.
server_unreachable | The client got no answer. | Check the address; see whether the server runs.
service_unavailable | A part that the server needs is away. | Try again in a minute.
signature_invalid | A webhook is not signed with this secret, or was signed long ago. | Refuse it; check the secret and the clock.
storage_full | The server's disk is full; nothing was kept. | Try again when there is room.
storage_unavailable | The server's storage is not mounted. | Try again in a minute; tell the operator if it stays so.
streams_busy | The server watches as many jobs as it has places for. | Poll the job instead, or try again in a moment.
table_missing | A list that the data set needs is not in the archive. | Add it.
table_too_large | A list is larger than is read. | Part it.
tables_unknown | The database was written by another version. | Start that version, or have a copy restored.
tag_too_long | A row's tag is too long. | Use at most 80 characters.
too_few_writers | There are too few writers to train on, choose by and calibrate with. | Add writers, or hold fewer out.
too_many_requests | More requests came than the server takes. | Wait for the seconds of Retry-After.
trials_failed | None of the trials came to an end. | See their codes.
unauthorized | The request carries no valid key. | Send Authorization: Bearer KEY.
unsupported_media_type | The body is of a kind that is not read here. | Send what the description names.
upload_length | An upload's parts are not of the size that was told. | Begin it with the size of the whole file.
upload_offset | The part does not begin where the last one ended. | Ask for Upload-Offset, and go on from there.
upload_too_large | The upload is larger than this server allows. | Part it, or raise COUNTERSIGN_MAX_UPLOAD.
upload_unknown | You have no such unfinished upload; it may be finished. | Ask by its digest whether the file has arrived.
uri_too_long | The address is too long. | Shorten it.
value_invalid | A value cannot be stored: a NUL character, or a number out of range. | Remove it.
view_unknown | There is no such picture of an image. | Take the address from the page.
webhook_insecure | The address is plain http. | Use https; http is for networks that the operator named.
webhook_private | The address is not public. | Ask the operator to name its network in COUNTERSIGN_WEBHOOK_NETWORKS.
webhook_unknown | You have no webhook of this id. | Take ids from the list of your webhooks.
webhook_unresolved | The webhook's host has no address. | Correct its name.
webhook_url | The webhook's address cannot be read. | Write https://HOST/PATH.
webhooks_too_many | You have as many webhooks as a person may. | Delete one that is not needed.
weights_unfit | The file's weights do not fit the network. | Choose another file or network.
weights_unknown | The server has no such file of weights. | Ask its operator to put it there.
writers_unknown | The archive lacks a writer that was named. | See the detail for those it has.
"""

PROBLEMS = {
    code: Kind(cause, cure) for code, cause, cure in (line.split(" | ") for line in _TABLE.strip().splitlines())
}


def problem_type(code: str) -> str:
    """The ``type`` of a problem document: where its cause and cure can be read."""
    return f"/problems#{code}"
