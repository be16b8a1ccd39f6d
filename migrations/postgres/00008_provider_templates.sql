-- Templates of a provider's own, for those that send nothing else: by connector, or * for all that are not named.
--     {"sms/aliyun": {"id": "SMS_154950909", "parameters": {"code": "{{code}}"}}}

-- +goose Up
ALTER TABLE message_contents RENAME COLUMN provider_template TO provider_templates;
ALTER TABLE message_templates ADD COLUMN provider_templates json; -- object

-- +goose Down
ALTER TABLE message_templates DROP COLUMN provider_templates;
ALTER TABLE message_contents RENAME COLUMN provider_templates TO provider_template;
